"""A client reads, changes and ends its own registration (RFC 7592)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from valetkey.activity.audit import audit
from valetkey.authorization_server.openid.id_token import make_wanted_keys
from valetkey.endpoint import Answer, Call, json_answer
from valetkey.protocol import bearer
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.errors import Forbidden, InvalidClientMetadata, InvalidRequest, InvalidToken
from valetkey.protocol.parameters import read_form
from valetkey.protocol.policy import SECRET_METHODS
from valetkey.protocol.secret import CLIENT_SECRET, REGISTRATION_ACCESS_TOKEN, Secret, is_well_formed, mint
from valetkey.storage import clients, grants, personal_tokens, registrations, revocations
from valetkey.storage.clients import Client
from valetkey.storage.engine.statement import Bound
from valetkey.storage.engine.transaction import Write
from valetkey.storage.registrations import Registration

from .registration_endpoint import client_information, judge_metadata

_TOLD_BY_US = frozenset(
    {"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"}
)


@dataclass(frozen=True, slots=True)
class _Own:
    """A client with the registration that its registration access token opens."""

    client: Client
    registration: Registration
    token: Secret


def manage(call: Call) -> Answer:
    """Answer GET, PUT and DELETE for the client that the registration access token belongs to."""
    answers: dict[str, Callable[[Call, _Own], Answer]] = {
        "GET": _read,
        "HEAD": _read,
        "PUT": _change,
        "DELETE": _remove,
    }
    return answers[call.method](call, _find_own(call))


def _find_own(call: Call) -> _Own:
    """:raises InvalidToken: for another client's token, and where the client is gone (§2.1)."""
    value = bearer.read_token(call.authorization)
    if value is None:
        raise MissingToken("a registration access token is required")
    client_id = read_form(call.query).get("client_id") or ""
    store, token = call.runtime.store, Secret(value)
    registration = registrations.find(store, client_id) if is_well_formed(value, REGISTRATION_ACCESS_TOKEN) else None
    if registration is None or not token.matches(bytes(registration.digest)):
        raise InvalidToken("the registration access token is not this client's", detail="unknown, old or another's")
    client = clients.find(store, client_id, call.now)
    if client is None:
        raise InvalidToken("the registration access token is not this client's", detail="the client is gone")
    if client.disabled_at is not None and not registration.waits:
        raise Forbidden("the client was put out of service")
    return _Own(client, registration, token)


def _read(call: Call, own: _Own) -> Answer:
    """The metadata; the secret is kept as a digest and so not told again."""
    client = own.client
    told = client_information(call.runtime, client.client_id, client.metadata, client.created_at, own.token, None)
    return json_answer(told)


def _change(call: Call, own: _Own) -> Answer:
    """Put new metadata in the place of all the old, with another registration access token (§2.2)."""
    _check_body(call, own.client)
    runtime, client = call.runtime, own.client
    rules, metadata = judge_metadata(call.document, own.registration.policy, runtime)
    waits = _must_wait(own, metadata != client.metadata, call)
    token = mint(REGISTRATION_ACCESS_TOKEN)
    secret, rows = _secret_rows(client, metadata["token_endpoint_auth_method"], call.now)
    changed = clients.change(replace(client, policy=rules), metadata=metadata, disabled_at=call.now if waits else None)
    rows += [changed, audit("client.changed", call.now, client_id=client.client_id, address=call.address)]
    rows += _end_tokens(call, client) if waits and not own.registration.waits else [_told("changed", call, client)]
    _write(call, registrations.change(own.registration, token.digest(), waits=waits), rows)
    make_wanted_keys(runtime, metadata, call.now)
    return json_answer(client_information(runtime, client.client_id, metadata, client.created_at, token, secret))


def _remove(call: Call, own: _Own) -> Answer:
    """The client is gone, and with it all that it was given (§2.3)."""
    client = own.client
    rows = [*clients.remove(client.client_id), *_end_tokens(call, client)]
    rows.append(audit("client.removed", call.now, client_id=client.client_id, address=call.address))
    _write(call, registrations.remove_own(own.registration), rows)
    return Answer(204, b"", (("Cache-Control", "no-store"),))


def _check_body(call: Call, client: Client) -> None:
    if call.document.get("client_id") != client.client_id:
        raise InvalidRequest("client_id must be the one that was issued")
    if _TOLD_BY_US & call.document.keys():
        raise InvalidRequest("what only the server issues must not be sent")  # §2.2
    secret = call.document.get("client_secret")
    if secret is None:
        return
    if not isinstance(secret, str) or not any(Secret(secret).matches(digest) for digest, _ in client.secret_digests):
        raise InvalidClientMetadata("client_secret is not the one that was issued")


def _must_wait(own: _Own, is_changed: bool, call: Call) -> bool:
    """What the operator approved must not become something else afterwards."""
    asks_operator = call.runtime.settings.registration == "approve" and own.registration.policy is None
    return bool(own.registration.waits) or (asks_operator and is_changed)


def _secret_rows(client: Client, method: str, now: float) -> tuple[Secret | None, list[Bound]]:
    if method not in SECRET_METHODS:
        return None, [clients.end_secrets(client.client_id, now)]
    if client.secret_digests:
        return None, []
    secret = mint(CLIENT_SECRET)
    return secret, [clients.add_secret(client.client_id, secret.digest(), now)]


def _end_tokens(call: Call, client: Client) -> list[Bound]:
    made = personal_tokens.revoke_client(client.client_id, call.now, call.runtime.revocation_ends)
    return [grants.revoke_client(client.client_id, call.now), *made, _told("client", call, client)]


def _told(kind: revocations.Kind, call: Call, client: Client) -> Bound:
    return revocations.add(kind, client.client_id, call.now, call.runtime.revocation_ends)


def _write(call: Call, claim: Bound, rows: list[Bound]) -> None:
    if not call.runtime.write(Write(claim, tuple(rows))):
        raise InvalidToken("the registration access token was used up", detail="another change was first")
    call.runtime.feed.expire()
