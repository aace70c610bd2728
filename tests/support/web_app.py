"""A registered client with the policy ``web``, for the tests of races and faults."""

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
    """An OAuth client that sends requests to the servers of a deployment, each by its port."""

    deployment: Deployment
    client_id: str
    client_secret: str

    @classmethod
    def register(cls, deployment: Deployment, scope: str = "profile") -> WebApp:
        """Register a new client at the deployment."""
        client = deployment.create_client("web", name="The web app", scope=scope, redirect_uris=[CALLBACK])
        return cls(deployment, client["client_id"], client["client_secret"])

    @property
    def auth(self) -> tuple[str, str]:
        """The client's credentials for HTTP Basic (RFC 6749 §2.3.1)."""
        return self.client_id, self.client_secret

    def authorization_url(self, scope: str = "profile", **more: str) -> str:
        """Return the URL of an authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3) with more parameters."""
        challenge = urlsafe_b64encode(sha256(CODE_VERIFIER.encode()).digest()).rstrip(b"=").decode()
        parameters = {"response_type": "code", "client_id": self.client_id, "redirect_uri": CALLBACK, "state": "s"}
        parameters |= {"scope": scope, "code_challenge": challenge, "code_challenge_method": "S256", **more}
        return f"{self.deployment.issuer}/oauth/authorize?{urlencode(parameters)}"

    def obtain_code(self, user: User, scope: str = "profile") -> str:
        """Let the user allow a request. Return the new authorization code."""
        return code_from_redirect(user.allow(self.authorization_url(scope)))

    def redemption_request(self, port: int, code: str) -> RawRequest:
        """Return the token request with a code."""
        fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)]
        return post_request(port, "/oauth/token", [*fields, ("code_verifier", CODE_VERIFIER)], auth=self.auth)

    def refresh_request(self, port: int, refresh_token: str) -> RawRequest:
        """Return the token request with a refresh token."""
        fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)]
        return post_request(port, "/oauth/token", fields, auth=self.auth)

    def obtain_tokens(self, user: User, scope: str = "profile") -> dict[str, Any]:
        """Obtain a new code and redeem it. Return the token response."""
        [response] = send_together([self.redemption_request(self.deployment.port, self.obtain_code(user, scope))])
        assert response.status == httpx.codes.OK, response
        return parse_token_response(response)

    def introspect(self, port: int, token: str) -> dict[str, Any]:
        """Return the introspection response of a server for a token (RFC 7662)."""
        [response] = send_together([post_request(port, "/oauth/introspect", [("token", token)], auth=self.auth)])
        assert response.status == httpx.codes.OK, response
        return dict(json.loads(response.body))


def code_from_redirect(location: str) -> str:
    """Return the code in the URL of a redirect to the app."""
    return parse_qs(urlsplit(location).query)["code"][0]


def parse_token_response(response: RawResponse) -> dict[str, Any]:
    """Return the members of a token response (RFC 6749 §5.1)."""
    return dict(json.loads(response.body))
