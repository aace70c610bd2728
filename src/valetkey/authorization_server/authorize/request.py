"""An authorization request after its checks, which can be stored as JSON until the owner decides."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import OAuthError
from valetkey.protocol.redirect_uri import has_private_use_scheme, leads_to_user_device
from valetkey.protocol.secret import Secret
from valetkey.storage.clients import Client


@dataclass(frozen=True, slots=True)
class CheckedTarget:
    """A client and one of its registered redirect URIs; authorization responses are sent only to such a URI.

    Only ``check_target`` and ``recheck_target`` in ``authorize.endpoint`` create one.
    """

    client: Client
    redirect_uri: str
    redirect_uri_sent: bool
    state: str | None
    mode: str
    issuer: str

    @property
    def must_prompt_each_time(self) -> bool:
        """Whether the consent page is shown for each request, even if the user allowed the app before (RFC 8252 §8.6).

        True if the client does not authenticate and the response goes to a program on the owner's device: another
        program there could have sent the request, and get the response. The client's policy does not matter.
        Also true for a private-use scheme without a dot, however the client authenticates: any program can claim such a
        scheme.
        """
        if has_private_use_scheme(self.redirect_uri, undotted=True):
            return True
        return self.client.is_public and leads_to_user_device(self.redirect_uri)

    def response(self, parameters: dict[str, str]) -> AuthorizationResponse:
        """Return an authorization response with these parameters, the request's ``state``, and ``iss`` (RFC 9207)."""
        if self.state is not None:
            parameters = {**parameters, "state": self.state}
        return AuthorizationResponse(self.redirect_uri, self.mode, {**parameters, "iss": self.issuer})

    def refusal_response(self, refusal: OAuthError) -> AuthorizationResponse:
        """Return an authorization response that reports an error to the client (RFC 6749 §4.1.2.1)."""
        return self.response(refusal.body())


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """The checked parameters of an authorization request (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1)."""

    client_id: str
    redirect_uri: str
    redirect_uri_sent: bool
    state: str | None
    mode: str
    scope: tuple[str, ...]
    resources: tuple[str, ...]
    code_challenge: str | None
    begun_at: float
    client_identity: str  # as the client was when the request was checked; the consent is to this identity
    nonce: str | None = None
    prompt: tuple[str, ...] = ()
    max_age: int | None = None
    acr_values: tuple[str, ...] = ()  # of acr_values, claims, or the client's registration
    login_hint: str | None = None
    hinted_subs: tuple[str, ...] = ()  # the owners that id_token_hint or claims name; empty: any
    claims: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the request as JSON, to be stored until the owner decides."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> AuthorizationRequest:
        """Return the request that ``to_json`` serialized.

        :raises KeyError, TypeError: if another version of Valetkey serialized it, with other fields.
        """
        members = json.loads(text)
        lists = {name: tuple(members[name]) for name in ("scope", "resources", "prompt", "acr_values", "hinted_subs")}
        return cls(**{**members, **lists})


@dataclass(frozen=True, slots=True)
class PendingAuthorization:
    """A stored authorization request that waits for the resource owner's decision, in the browser that sent it."""

    interaction_id: Secret
    browser: Secret  # the cookie that identifies the browser
    request: AuthorizationRequest
    target: CheckedTarget

    @property
    def digest(self) -> bytes:
        """Digest of the interaction id, under which the request is stored."""
        return self.interaction_id.digest()
