"""A client reads, changes and ends its own registration (RFC 7592)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.id_token import ensure_signing_keys
from valetkey.endpoint import Call, MachineResponse, json_response
from valetkey.protocol import bearer
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.client_policy import SECRET_AUTH_METHODS
from valetkey.protocol.errors import Forbidden, InvalidClientMetadata, InvalidRequest, InvalidToken
from valetkey.protocol.parameters import parse_parameters
from valetkey.protocol.secret import CLIENT_SECRET, REGISTRATION_ACCESS_TOKEN, Secret, generate_secret, is_well_formed
from valetkey.storage import change_feed, clients, grants, personal_access_tokens, registrations
from valetkey.storage.clients import Client
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.registrations import Registration

from .registration_endpoint import client_information, validate_metadata

_SERVER_ISSUED_MEMBERS = frozenset(
    {"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"}
)


@dataclass(frozen=True, slots=True)
class ManagedClient:
    """A client with the registration that its registration access token opens."""

    client: Client
    registration: Registration
    token: Secret


def manage_registration(call: Call) -> MachineResponse:
    """Answer GET, PUT and DELETE for the client that the registration access token belongs to."""
    answers: dict[str, Callable[[Call, ManagedClient], MachineResponse]] = {
        "GET": _read_registration,
        "HEAD": _read_registration,
        "PUT": _replace_registration,
        "DELETE": _delete_registration,
    }
    return answers[call.method](call, _find_managed_client(call))


def _find_managed_client(call: Call) -> ManagedClient:
    """:raises InvalidToken: for another client's token, and where the client is gone (§2.1)."""
    value = bearer.parse_bearer_token(call.authorization)
    if value is None:
        raise MissingToken("a registration access token is required")
    client_id = parse_parameters(call.query).get("client_id") or ""
    store, token = call.runtime.store, Secret(value)
    registration = registrations.find(store, client_id) if is_well_formed(value, REGISTRATION_ACCESS_TOKEN) else None
    if registration is None or not token.matches(bytes(registration.digest)):
        raise InvalidToken("the registration access token is not this client's", log_detail="unknown, old or another's")
    client = clients.find(store, client_id, call.now)
    if client is None:
        raise InvalidToken("the registration access token is not this client's", log_detail="the client is gone")
    if client.disabled_at is not None and not registration.waits:
        raise Forbidden("the client was put out of service")
    return ManagedClient(client, registration, token)


def _read_registration(call: Call, managed: ManagedClient) -> MachineResponse:
    """The metadata; the secret is kept as a digest and so not told again."""
    client = managed.client
    told = client_information(call.runtime, client.client_id, client.metadata, client.created_at, managed.token, None)
    return json_response(told)


def _replace_registration(call: Call, managed: ManagedClient) -> MachineResponse:
    """Put new metadata in the place of all the old, with another registration access token (§2.2)."""
    _check_body(call, managed.client)
    runtime, client = call.runtime, managed.client
    rules, metadata = validate_metadata(call.json_body, managed.registration.policy, runtime)
    waits = _needs_approval(managed, metadata != client.metadata, call)
    token = generate_secret(REGISTRATION_ACCESS_TOKEN)
    secret, rows = _secret_statements(client, metadata["token_endpoint_auth_method"], call.now)
    changed = clients.change(replace(client, policy=rules), metadata=metadata, disabled_at=call.now if waits else None)
    rows += [changed, audit_statement("client.changed", call.now, client_id=client.client_id, address=call.address)]
    rows += (
        _revoke_token_statements(call, client)
        if waits and not managed.registration.waits
        else [_feed_statement("changed", call, client)]
    )
    _write(call, registrations.change(managed.registration, token.digest(), is_pending=waits), rows)
    ensure_signing_keys(runtime, metadata, call.now)
    return json_response(client_information(runtime, client.client_id, metadata, client.created_at, token, secret))


def _delete_registration(call: Call, managed: ManagedClient) -> MachineResponse:
    """The client is gone, and with it all that it was given (§2.3)."""
    client = managed.client
    rows = [*clients.removal_statements(client.client_id), *_revoke_token_statements(call, client)]
    rows.append(audit_statement("client.removed", call.now, client_id=client.client_id, address=call.address))
    _write(call, registrations.remove_if_token_matches(managed.registration), rows)
    return MachineResponse(204, b"", (("Cache-Control", "no-store"),))


def _check_body(call: Call, client: Client) -> None:
    if call.json_body.get("client_id") != client.client_id:
        raise InvalidRequest("client_id must be the one that was issued")
    if _SERVER_ISSUED_MEMBERS & call.json_body.keys():
        raise InvalidRequest("what only the server issues must not be sent")  # §2.2
    secret = call.json_body.get("client_secret")
    if secret is None:
        return
    if not isinstance(secret, str) or not any(Secret(secret).matches(digest) for digest, _ in client.secret_digests):
        raise InvalidClientMetadata("client_secret is not the one that was issued")


def _needs_approval(managed: ManagedClient, is_changed: bool, call: Call) -> bool:
    """What the operator approved must not become something else afterwards."""
    asks_operator = call.runtime.settings.registration == "approve" and managed.registration.policy is None
    return bool(managed.registration.waits) or (asks_operator and is_changed)


def _secret_statements(client: Client, method: str, now: float) -> tuple[Secret | None, list[BoundStatement]]:
    if method not in SECRET_AUTH_METHODS:
        return None, [clients.expire_secrets(client.client_id, now)]
    if client.secret_digests:
        return None, []
    secret = generate_secret(CLIENT_SECRET)
    return secret, [clients.add_secret(client.client_id, secret.digest(), now)]


def _revoke_token_statements(call: Call, client: Client) -> list[BoundStatement]:
    made = personal_access_tokens.client_revocation_statements(
        client.client_id, call.now, call.runtime.revocation_expiry
    )
    return [grants.revoke_all_of_client(client.client_id, call.now), *made, _feed_statement("client", call, client)]


def _feed_statement(kind: change_feed.ChangeKind, call: Call, client: Client) -> BoundStatement:
    return change_feed.add(kind, client.client_id, call.now, call.runtime.revocation_expiry)


def _write(call: Call, condition: BoundStatement, rows: list[BoundStatement]) -> None:
    if not call.runtime.write(Transaction(condition, tuple(rows))):
        raise InvalidToken("the registration access token was used up", log_detail="another change was first")
    call.runtime.feed.invalidate()
