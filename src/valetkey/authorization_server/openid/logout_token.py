"""Logout tokens (OpenID Connect Back-Channel Logout §2.4), made when they are sent and posted by the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from valetkey.outbound.errors import FetchFailed
from valetkey.protocol.errors import TemporarilyUnavailable
from valetkey.protocol.secret import random_id
from valetkey.runtime import Runtime
from valetkey.storage.clients import Client

from .id_token import DEFAULT_ALGORITHM
from .subject import subject_for_client

LOGOUT_TOKEN_JOB = "backchannel_logout"
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_LIFETIME_S = 120  # seconds; §4 recommends two minutes at most
_SUCCESS_STATUSES = (200, 204)


def deliver_logout_token(runtime: Runtime, payload: Mapping[str, Any]) -> None:
    """Tell a client that a sign-in is over.

    :raises FetchProblem: where it did not say that it understood (§2.8); the worker tries again.
    """
    now = runtime.clock()
    try:
        client = runtime.clients.find(payload["client_id"], now)
    except TemporarilyUnavailable as cause:
        raise FetchFailed(cause.description) from cause
    if client is None or not wants_logout_token(client, payload["sid"]):
        return  # it was removed meanwhile, or wants none of this
    token = make_logout_token(runtime, client, payload["owner"], payload["sid"], now)
    uri = str(client.metadata["backchannel_logout_uri"])
    answer = runtime.fetcher.post_form(uri, {"logout_token": token}, accept="*/*")
    if answer.status not in _SUCCESS_STATUSES:
        raise FetchFailed(f"{urlsplit(uri).hostname} answered {answer.status}")


def wants_logout_token(client: Client, sid: str | None) -> bool:
    """Whether it is told of the end of a sign-in, of which there may be no name (§2.2)."""
    needs_sid = client.metadata.get("backchannel_logout_session_required", False)
    return "backchannel_logout_uri" in client.metadata and not (needs_sid and sid is None)


def make_logout_token(runtime: Runtime, client: Client, owner: str, sid: str | None, now: float) -> str:
    """A logout token for one client; its type keeps it from passing for an ID token (§2.4)."""
    claims = {
        "iss": runtime.settings.issuer,
        "aud": client.client_id,
        "iat": int(now),
        "exp": int(now) + _LIFETIME_S,
        "jti": random_id(),
        "events": {_LOGOUT_EVENT: {}},
        "sub": subject_for_client(owner, client, runtime),
        **({"sid": sid} if sid else {}),
    }
    algorithm = client.metadata.get("id_token_signed_response_alg", DEFAULT_ALGORITHM)
    return runtime.token_generator.sign_jwt(claims, algorithm, "logout+jwt", now)
