"""Authlib's OAuth 2.0 client for a provider. All its requests are sent by the HTTP client with SSRF protection."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from valetkey.outbound.errors import FetchFailed
from valetkey.outbound.http import Fetcher, FetchResponse
from valetkey.protocol.basic import format_basic
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.settings.provider_presets import Apple
from valetkey.settings.providers import SignInProvider

from .apple import sign_client_secret
from .endpoints import ProviderEndpoints

_MAX_LIFETIME_S = 10 * 366 * 86_400


def make_client(provider: SignInProvider, endpoints: ProviderEndpoints, runtime: Runtime, now: float) -> Any:
    """Return Authlib's ``OAuth2Client`` for a provider."""
    from authlib.oauth2.client import OAuth2Client  # imported here: many apps have no provider

    is_basic = endpoints.auth_method == "client_secret_basic"
    return OAuth2Client(
        _GuardedSession(runtime.fetcher),
        client_id=provider.client_id,
        client_secret=sign_client_secret(provider, now) if isinstance(provider, Apple) else provider.client_secret,
        token_endpoint_auth_method=_encode_basic if is_basic else endpoints.auth_method,
        scope=provider.scope,
        redirect_uri=redirect_uri(provider, runtime.settings),
        code_challenge_method="S256",
        token_endpoint=endpoints.token,
    )


def redirect_uri(provider: SignInProvider, settings: Settings) -> str:
    """Return the redirect URI of this site at a provider. Each provider has its own (RFC 9700 §4.4.2.2)."""
    return f"{settings.issuer}{settings.sign_in_path}/{provider.provider_id}/callback"


def is_token(value: object) -> bool:
    """Return whether a member of a token response can be an access token or a refresh token (RFC 6749 §A.12)."""
    return isinstance(value, str) and value.isascii() and value.isprintable() and bool(value)


def _encode_basic(client: Any, _method: str, url: str, headers: dict[str, str], body: str) -> Any:
    """Authenticate with HTTP Basic. ``format_basic`` form-encodes client id and secret first, which Authlib omits.

    :returns: the URL, the headers and the body, as Authlib's client authentication does.
    """
    return url, {**headers, "Authorization": format_basic(client.client_id, client.client_secret)}, body


def _clean_lifetime(expires_in: object) -> int | None:
    """Return the lifetime of an access token in seconds (RFC 6749 §5.1), or ``None`` if it is not known.

    Some providers send the number as a text. A negative number, or one over ten years, counts as unknown.
    """
    if isinstance(expires_in, str) and expires_in.isascii() and expires_in.isdigit() and len(expires_in) < 10:
        return int(expires_in)
    is_number = isinstance(expires_in, int | float) and not isinstance(expires_in, bool)
    return int(expires_in) if is_number and 0 <= expires_in <= _MAX_LIFETIME_S else None  # type: ignore[call-overload, operator]


class _GuardedSession:
    """The part of the interface of an HTTP session that Authlib's client uses."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    def post(self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> _GuardedResponse:
        """Send a form. ``auth`` is Authlib's client authentication, which adds a header or form fields.

        :raises FetchError: if there is no response.
        """
        url, all_headers, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        fields = dict(parse_qsl(body, keep_blank_values=True))
        authorization = all_headers.get("Authorization")
        return _GuardedResponse(
            self._fetcher.post_form(url, fields, accept="application/json", authorization=authorization)
        )


@dataclass(frozen=True, slots=True)
class _GuardedResponse:
    """The part of the interface of an HTTP response that Authlib's client uses."""

    fetched: FetchResponse

    @property
    def status_code(self) -> int:
        return self.fetched.status

    def json(self) -> dict[str, Any]:
        """Return the members of a token response, or of an error response (RFC 6749 §5.1, §5.2).

        :raises FetchFailed: if it is neither: it has no ``error``, and no usable access token with status 200.
        """
        try:
            document = json.loads(self.fetched.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise FetchFailed(f"the response of the token endpoint, with status {self.status_code}, is no JSON object")
        if "error" not in document and (self.status_code != 200 or not is_token(document.get("access_token"))):
            raise FetchFailed(
                f"the response of the token endpoint, with status {self.status_code}, has no access token"
            )
        document.pop("expires_at", None)  # Authlib calculates with these
        document["expires_in"] = _clean_lifetime(document.get("expires_in"))
        return document

    def raise_for_status(self) -> None:
        if self.fetched.status >= 400:
            raise FetchFailed(f"the token endpoint responded with status {self.fetched.status}")
