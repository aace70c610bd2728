"""Client configuration endpoint: a client reads, updates and deletes its own registration (RFC 7592)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.id_token import ensure_signing_keys
from valetkey.endpoint import Call, MachineResponse, json_response
from valetkey.protocol import bearer
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.errors import Forbidden, InvalidClientMetadata, InvalidRequest, InvalidToken
from valetkey.protocol.parameters import parse_parameters
from valetkey.protocol.secret import REGISTRATION_ACCESS_TOKEN, Secret, generate_secret, is_well_formed
from valetkey.storage import change_feed, clients, registrations
from valetkey.storage.clients import Client
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.registrations import Registration

from .operator_metadata import OPERATOR_ONLY_MEMBERS
from .registration_endpoint import client_information, describe_omitted_scopes, limit_scope, validate_metadata
from .service import client_revocation_statements, end_client
from .update import becomes_public, secret_statements

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
        client_information(
            call.runtime.settings, client.client_id, client.metadata, client.created_at, managed.token, None
        )
    )


def _replace_registration(call: Call, managed: ManagedClient) -> MachineResponse:
    """Replace all metadata of the client and issue a new registration access token (RFC 7592 §2.2).

    What only the operator may set stays: some members, and a limit of the scope.
    """
    _check_body(call, managed.client)
    runtime, client = call.runtime, managed.client
    rules, metadata = validate_metadata(
        call.json_body, managed.registration.policy, client.client_id, runtime, call.now
    )
    if client.scope is not None and not _is_approved_later(managed, call):
        metadata = limit_scope(metadata, client.scope)
    metadata |= {name: client.metadata[name] for name in OPERATOR_ONLY_MEMBERS & client.metadata.keys()}
    is_pending = _needs_approval(managed, metadata != client.metadata, call)
    token = generate_secret(REGISTRATION_ACCESS_TOKEN)
    secret, rows = secret_statements(client, metadata["token_endpoint_auth_method"], call.now)
    disabled_at = call.now if is_pending else None
    changed = clients.change(client, policy=rules.name, metadata=metadata, disabled_at=disabled_at)
    rows += [changed, audit_statement("client.changed", call.now, client_id=client.client_id, address=call.address)]
    ends_tokens = (is_pending and not managed.registration.waits) or becomes_public(client, metadata)
    rows += (
        client_revocation_statements(client.client_id, call.now)
        if ends_tokens
        else [change_feed.add("changed", client.client_id)]
    )
    condition = registrations.change(managed.registration, client, token.digest(), is_pending=is_pending)
    if not runtime.store.write(Transaction(condition, tuple(rows))):
        _find_managed_client(call)  # raises if the token was replaced, or the client disabled or removed
        raise InvalidRequest("the operator has changed the client meanwhile: read it, and send the request again")
    ensure_signing_keys(runtime.keys, metadata, call.now)
    body = client_information(runtime.settings, client.client_id, metadata, client.created_at, token, secret)
    return json_response(body | describe_omitted_scopes(call.json_body, metadata, client.client_id, runtime, call.now))


def _delete_registration(call: Call, managed: ManagedClient) -> MachineResponse:
    """Remove the client, revoke its grants and tokens, and return status 204 (RFC 7592 §2.3)."""
    condition = registrations.remove_if_token_matches(managed.registration)
    client_id = managed.client.client_id
    if not end_client(call.runtime.store, client_id, call.now, condition=condition, address=call.address):
        raise InvalidToken("the registration access token was used up", log_detail="another change was faster")
    return MachineResponse(204, b"", (("Cache-Control", "no-store"),))


def _check_body(call: Call, client: Client) -> None:
    if call.json_body.get("client_id") != client.client_id:
        raise InvalidRequest("client_id must be the one that was issued")
    if _SERVER_ISSUED_MEMBERS & call.json_body.keys():
        names = ", ".join(sorted(_SERVER_ISSUED_MEMBERS))
        raise InvalidRequest(f"members that only the server sets must not be sent: {names}")  # §2.2
    secret = call.json_body.get("client_secret")
    if secret is None:
        return
    if not isinstance(secret, str) or not any(Secret(secret).matches(digest) for digest, _ in client.secret_digests):
        raise InvalidClientMetadata("client_secret is not the one that was issued")


def _needs_approval(managed: ManagedClient, is_changed: bool, call: Call) -> bool:
    """Return whether the operator must approve the client after this update of its metadata.

    True if approval is pending already, or if an approved client changes: the operator approved the old metadata.
    """
    return bool(managed.registration.waits) or (is_changed and _is_approved_later(managed, call))


def _is_approved_later(managed: ManagedClient, call: Call) -> bool:
    """Return whether the operator must approve each change of the client before it has an effect."""
    return call.runtime.settings.registration == "approve" and managed.registration.policy is None
