"""Client configuration endpoint: a client reads, updates and deletes its own registration (RFC 7592)."""

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
    """A client that authenticated with its registration access token, its registration, and that token."""

    client: Client
    registration: Registration
    token: Secret


def manage_registration(call: Call) -> MachineResponse:
    """Handle a GET, PUT or DELETE request of a client for its own registration, and return the response."""
    handlers: dict[str, Callable[[Call, ManagedClient], MachineResponse]] = {
        "GET": _read_registration,
        "HEAD": _read_registration,
        "PUT": _replace_registration,
        "DELETE": _delete_registration,
    }
    return handlers[call.method](call, _find_managed_client(call))


def _find_managed_client(call: Call) -> ManagedClient:
    """Return the client that the ``client_id`` in the query names, authenticated by its registration access token.

    :raises MissingToken: if the request has no registration access token.
    :raises InvalidToken: if the token is unknown or another client's, or the client was removed (RFC 7592 §2.1).
    :raises Forbidden: if the operator disabled the client.
    """
    value = bearer.parse_bearer_token(call.authorization)
    if value is None:
        raise MissingToken("a registration access token is required")
    client_id = parse_parameters(call.query).get("client_id") or ""
    store, token = call.runtime.store, Secret(value)
    registration = registrations.find(store, client_id) if is_well_formed(value, REGISTRATION_ACCESS_TOKEN) else None
    if registration is None or not token.matches(bytes(registration.digest)):
        raise InvalidToken(
            "the registration access token is not this client's", log_detail="unknown, replaced or another's"
        )
    client = clients.find(store, client_id, call.now)
    if client is None:
        raise InvalidToken("the registration access token is not this client's", log_detail="the client was removed")
    if client.disabled_at is not None and not registration.waits:
        raise Forbidden("the client is disabled")
    return ManagedClient(client, registration, token)


def _read_registration(call: Call, managed: ManagedClient) -> MachineResponse:
    """Return the client information response without the client secret, of which only a digest is stored."""
    client = managed.client
    return json_response(
        client_information(call.runtime, client.client_id, client.metadata, client.created_at, managed.token, None)
    )


def _replace_registration(call: Call, managed: ManagedClient) -> MachineResponse:
    """Replace all metadata of the client and issue a new registration access token (RFC 7592 §2.2)."""
    _check_body(call, managed.client)
    runtime, client = call.runtime, managed.client
    rules, metadata = validate_metadata(call.json_body, managed.registration.policy, runtime)
    is_pending = _needs_approval(managed, metadata != client.metadata, call)
    token = generate_secret(REGISTRATION_ACCESS_TOKEN)
    secret, rows = _secret_statements(client, metadata["token_endpoint_auth_method"], call.now)
    disabled_at = call.now if is_pending else None
    changed = clients.change(replace(client, policy=rules), metadata=metadata, disabled_at=disabled_at)
    rows += [changed, audit_statement("client.changed", call.now, client_id=client.client_id, address=call.address)]
    rows += (
        _revoke_token_statements(call, client)
        if is_pending and not managed.registration.waits
        else [_feed_statement("changed", call, client)]
    )
    _write(call, registrations.change(managed.registration, token.digest(), is_pending=is_pending), rows)
    ensure_signing_keys(runtime, metadata, call.now)
    return json_response(client_information(runtime, client.client_id, metadata, client.created_at, token, secret))


def _delete_registration(call: Call, managed: ManagedClient) -> MachineResponse:
    """Remove the client, revoke its grants and tokens, and return status 204 (RFC 7592 §2.3)."""
    client = managed.client
    rows = [*clients.removal_statements(client.client_id), *_revoke_token_statements(call, client)]
    rows.append(audit_statement("client.removed", call.now, client_id=client.client_id, address=call.address))
    _write(call, registrations.remove_if_token_matches(managed.registration), rows)
    return MachineResponse(204, b"", (("Cache-Control", "no-store"),))


def _check_body(call: Call, client: Client) -> None:
    if call.json_body.get("client_id") != client.client_id:
        raise InvalidRequest("client_id must be the one that was issued")
    if _SERVER_ISSUED_MEMBERS & call.json_body.keys():
        names = ", ".join(sorted(_SERVER_ISSUED_MEMBERS))
        raise InvalidRequest(f"members that only the server issues must not be sent: {names}")  # §2.2
    secret = call.json_body.get("client_secret")
    if secret is None:
        return
    if not isinstance(secret, str) or not any(Secret(secret).matches(digest) for digest, _ in client.secret_digests):
        raise InvalidClientMetadata("client_secret is not the one that was issued")


def _needs_approval(managed: ManagedClient, is_changed: bool, call: Call) -> bool:
    """Return whether the operator must approve the client after this update of its metadata.

    True if approval is pending already, or if an approved client changes: the operator approved the old metadata.
    """
    needs_operator = call.runtime.settings.registration == "approve" and managed.registration.policy is None
    return bool(managed.registration.waits) or (needs_operator and is_changed)


def _secret_statements(client: Client, method: str, now: float) -> tuple[Secret | None, list[BoundStatement]]:
    """Return the client secret to issue, and the SQL statements that adapt the stored secrets to a new auth method.

    The secret is ``None`` if the client has one already, or the method does not use a secret.

    :param method: the new ``token_endpoint_auth_method``.
    """
    if method not in SECRET_AUTH_METHODS:
        return None, [clients.expire_secrets(client.client_id, now)]
    if client.secret_digests:
        return None, []
    secret = generate_secret(CLIENT_SECRET)
    return secret, [clients.add_secret(client.client_id, secret.digest(), now)]


def _revoke_token_statements(call: Call, client: Client) -> list[BoundStatement]:
    return [
        grants.revoke_all_of_client(client.client_id, call.now),
        *personal_access_tokens.client_revocation_statements(
            client.client_id, call.now, call.runtime.revocation_expiry
        ),
        _feed_statement("client", call, client),
    ]


def _feed_statement(kind: change_feed.ChangeKind, call: Call, client: Client) -> BoundStatement:
    return change_feed.add(kind, client.client_id, call.now, call.runtime.revocation_expiry)


def _write(call: Call, condition: BoundStatement, rows: list[BoundStatement]) -> None:
    """Write the change of a registration if its registration access token was not replaced meanwhile.

    :param condition: the SQL statement that changes the registration; it has no effect if the token was replaced.
    :param rows: the SQL statements to execute in the same transaction.
    :raises InvalidToken: if another request has replaced the token meanwhile; nothing is written.
    """
    if not call.runtime.write(Transaction(condition, tuple(rows))):
        raise InvalidToken("the registration access token was used up", log_detail="another change was first")
    call.runtime.feed.invalidate()
