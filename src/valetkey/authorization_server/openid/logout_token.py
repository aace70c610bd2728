"""Logout tokens: tell a client that a user's session ended (OpenID Connect Back-Channel Logout §2.4).

The background worker builds each token just before it posts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from valetkey.outbound.errors import FetchFailed
from valetkey.protocol.secret import random_id
from valetkey.runtime import Runtime
from valetkey.storage.clients import Client

from .id_token import DEFAULT_ALGORITHM
from .session_grants import end_grants_statements
from .subject import session_id_for_client, subject_for_client

LOGOUT_TOKEN_JOB = "backchannel_logout"  # kind of the outbox job
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_LIFETIME_S = 120  # seconds; §4 recommends two minutes at most
_SUCCESS_STATUSES = (200, 204)


def deliver_logout_token(runtime: Runtime, payload: Mapping[str, Any], now: float) -> None:
    """Post a logout token to a client's ``backchannel_logout_uri``.

    The background worker calls this function for each queued job of the kind ``LOGOUT_TOKEN_JOB``.

    :param payload: the job's data: ``client_id``, ``owner`` (the ``sub`` of the resource owner) and ``sid`` (the id of
        the ended session).
    :raises FetchError: if the client cannot be reached, or does not respond with 200 or 204 (Back-Channel
        Logout §2.8). The worker tries again later.
    """
    client = runtime.clients.find(payload["client_id"], now)
    if client is None or not wants_logout_token(client, payload["sid"]):
        return  # the client was removed meanwhile, or no longer registers for logout tokens
    # Those of a client whose metadata document was not cached when the session ended, so that it had to be fetched.
    if payload["sid"] and (
        rows := end_grants_statements(payload["owner"], payload["sid"], {client.client_id}, runtime.store, now, None)
    ):
        runtime.store.write_all(*rows)
    token = make_logout_token(runtime, client, payload["owner"], payload["sid"], now)
    uri = str(client.metadata["backchannel_logout_uri"])
    response = runtime.fetcher.post_form(uri, {"logout_token": token}, accept="*/*")
    if response.status not in _SUCCESS_STATUSES:
        raise FetchFailed(f"{urlsplit(uri).hostname} responded with status {response.status} to the logout token")


def wants_logout_token(client: Client, sid: str | None) -> bool:
    """Return whether a client is registered to receive a logout token when a session ends (Back-Channel Logout §2.2).

    :param sid: the session's id, or ``None`` if it has none. If ``None``, the result is ``False`` for a client that
        registered ``backchannel_logout_session_required``.
    """
    needs_sid = client.metadata.get("backchannel_logout_session_required", False)
    return "backchannel_logout_uri" in client.metadata and not (needs_sid and sid is None)


def make_logout_token(runtime: Runtime, client: Client, owner: str, sid: str | None, now: float) -> str:
    """Return a signed logout token for a client (OpenID Connect Back-Channel Logout §2.4).

    Its ``typ`` header distinguishes it from an ID token.

    :param owner: the ``sub`` of the resource owner.
    :param sid: the id of the ended session, or ``None`` if it has none.
    """
    claims = {
        "iss": runtime.settings.issuer,
        "aud": client.client_id,
        "iat": int(now),
        "exp": int(now) + _LIFETIME_S,
        "jti": random_id(),
        "events": {_LOGOUT_EVENT: {}},
        "sub": subject_for_client(owner, client, runtime.keys, now),
        **({"sid": session_id_for_client(sid, client, runtime.keys, now)} if sid else {}),
    }
    algorithm = client.metadata.get("id_token_signed_response_alg", DEFAULT_ALGORITHM)
    return runtime.token_generator.sign_jwt(claims, algorithm, "logout+jwt", now)
