"""A registered client of policy ``web``, as far as races and faults need one."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from tests.support.concurrent_requests import RawRequest, RawResponse, post_request, send_together
from tests.support.user import CALLBACK, User
from tests.support.valetkey_server import Deployment

CODE_VERIFIER = "a verifier that is long enough, 43 characters".replace(" ", "-").replace(",", "")


@dataclass(frozen=True)
class WebApp:
    """Sends requests to any server of a deployment, by port."""

    deployment: Deployment
    client_id: str
    client_secret: str

    @classmethod
    def register(cls, deployment: Deployment) -> WebApp:
        """Register the app with the deployment."""
        made = deployment.create_client("web", name="The web app", redirect_uris=[CALLBACK])
        return cls(deployment, made["client_id"], made["client_secret"])

    @property
    def auth(self) -> tuple[str, str]:
        """What the client proves itself with (RFC 6749 §2.3.1)."""
        return self.client_id, self.client_secret

    def authorization_url(self) -> str:
        """Where a person is sent (RFC 6749 §4.1.1, RFC 7636 §4.3)."""
        challenge = urlsafe_b64encode(sha256(CODE_VERIFIER.encode()).digest()).rstrip(b"=").decode()
        asked = {"response_type": "code", "client_id": self.client_id, "redirect_uri": CALLBACK, "state": "s"}
        asked |= {"scope": "profile", "code_challenge": challenge, "code_challenge_method": "S256"}
        return f"{self.deployment.issuer}/oauth/authorize?{urlencode(asked)}"

    def obtain_code(self, user: User) -> str:
        """A new authorization code that the person allowed."""
        return code_from_redirect(user.allow(self.authorization_url()))

    def redemption_request(self, port: int, code: str) -> RawRequest:
        """The token request for a code."""
        fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)]
        return post_request(port, "/oauth/token", [*fields, ("code_verifier", CODE_VERIFIER)], auth=self.auth)

    def refresh_request(self, port: int, refresh_token: str) -> RawRequest:
        """The token request for a refresh token."""
        fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)]
        return post_request(port, "/oauth/token", fields, auth=self.auth)

    def obtain_tokens(self, user: User) -> dict[str, Any]:
        """The tokens for a new code."""
        [answer] = send_together([self.redemption_request(self.deployment.port, self.obtain_code(user))])
        assert answer.status == httpx.codes.OK, answer
        return parse_token_response(answer)

    def introspect(self, port: int, token: str) -> dict[str, Any]:
        """What a server says about a token (RFC 7662)."""
        [answer] = send_together([post_request(port, "/oauth/introspect", [("token", token)], auth=self.auth)])
        assert answer.status == httpx.codes.OK, answer
        return dict(json.loads(answer.body))


def code_from_redirect(location: str) -> str:
    """The code of a redirect to the app."""
    return parse_qs(urlsplit(location).query)["code"][0]


def parse_token_response(response: RawResponse) -> dict[str, Any]:
    """The members of a token answer."""
    return dict(json.loads(response.body))
