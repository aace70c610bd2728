"""Operations on clients: register (RFC 6749 §2), add a secret, disable, enable, remove.

``register`` and ``end_client`` are for every way in which a client begins or ends: endpoints, commands and tasks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valetkey.activity.audit import AuditEvent, audit_statement
from valetkey.authorization_server.openid.id_token import ensure_signing_keys
from valetkey.caches.clients import DOCUMENT_POLICY
from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID
from valetkey.protocol.client_policy import CLIENT_POLICIES, SECRET_AUTH_METHODS
from valetkey.protocol.secret import CLIENT_SECRET, Secret, generate_secret, random_id
from valetkey.runtime import Runtime
from valetkey.storage import (
    change_feed,
    clients,
    consents,
    device_codes,
    grants,
    interactions,
    personal_access_tokens,
    registrations,
    subscriptions,
)
from valetkey.storage.clients import Client
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.registrations import Registration

from .operator_metadata import RegistrationRefused, validate_operator_metadata

# RFC 6749 Appendix A.1 without the space. A URL can be a client_id: its colon is form-encoded in HTTP Basic (§2.3.1).
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class CreatedClient:
    """A newly registered client.

    :param secret: the client secret, to be shown once since only its digest is stored; ``None`` if the client
        authenticates without one.
    """

    client_id: str
    secret: Secret | None


def register(
    runtime: Runtime,
    client_id: str,
    policy: str,
    metadata: Mapping[str, Any],
    now: float,
    *,
    registration: Registration | None = None,
    condition: BoundStatement | None = None,
    address: str | None = None,
    detail: str | None = None,
) -> CreatedClient | None:
    """Store a client and return its secret: every way in which a client is registered calls this function.

    Return ``None``, and store nothing, if there is a client with this id, or if ``condition`` is not met.

    :param client_id: the id of the client. Must be random if ``registration`` is given.
    :param policy: name of one of ``CLIENT_POLICIES``, or ``DOCUMENT_POLICY``.
    :param metadata: the metadata to store, which must have been validated.
    :param registration: the registration of a client that registers itself; the client is disabled while it waits.
    :param condition: SQL statement that decides whether the client is stored, such as the use of an initial access
        token.
    :param address: the network address of the request, for the audit log.
    :param detail: who registered the client or its name, for the audit log.
    """
    uses_document = policy == DOCUMENT_POLICY  # users may have granted it access already, before it was stored
    disabled_at = now if registration is not None and registration.waits else None
    secret = generate_secret(CLIENT_SECRET) if metadata["token_endpoint_auth_method"] in SECRET_AUTH_METHODS else None
    insert = clients.add(client_id, policy, metadata, now, disabled_at=disabled_at)
    rows: list[BoundStatement] = [insert] if condition is not None else []
    if registration is not None:
        rows.append(registrations.add(registration))
    elif not uses_document:
        # A request that was in progress while a client with this id was removed may have stored something since.
        rows += _belongings_statements(client_id, now)
    if secret is not None:
        rows.append(clients.add_secret(client_id, secret.digest(), now))
    if registration is None or policy == "browser":  # CORS of the API must allow its origin from now on
        rows.append(change_feed.add("changed", client_id))
    event: AuditEvent = "client.approved" if uses_document else "client.created"
    rows.append(audit_statement(event, now, client_id=client_id, address=address, detail=detail))
    if not runtime.store.write(Transaction(insert if condition is None else condition, tuple(rows))):
        return None
    ensure_signing_keys(runtime.keys, metadata, now)
    return CreatedClient(client_id, secret)


def end_client(
    store: Store,
    client_id: str,
    now: float,
    *,
    condition: BoundStatement | None = None,
    address: str | None = None,
    detail: str | None = None,
) -> bool:
    """Remove a client with all that belongs to it: every way in which a client is removed calls this function.

    Return whether the client was removed: false if ``condition`` was not met. Its secrets, its registration, its plan,
    its pending requests and the consents of all owners are removed, and its grants and tokens are revoked in every
    process: a client that gets the same ``client_id`` later must ask again.

    :param condition: SQL statement that decides whether the client is removed.
    :param address: the network address of the request, for the audit log.
    :param detail: why the client is removed, for the audit log.
    """
    rows = (
        clients.remove(client_id),
        *_belongings_statements(client_id, now),
        change_feed.add("client", client_id),
        audit_statement("client.removed", now, client_id=client_id, address=address, detail=detail),
    )
    return store.write(Transaction(condition, rows))


def client_revocation_statements(client_id: str, now: float) -> tuple[BoundStatement, ...]:
    """Return SQL statements, not yet executed, that revoke all grants and tokens of a client, in every process."""
    return *_grant_revocation_statements(client_id, now), change_feed.add("client", client_id)


def _grant_revocation_statements(client_id: str, now: float) -> tuple[BoundStatement, ...]:
    return (
        grants.revoke_all_of_client(client_id, now),
        *personal_access_tokens.client_revocation_statements(client_id, now),
    )


def _belongings_statements(client_id: str, now: float) -> tuple[BoundStatement, ...]:
    """Return SQL statements, not yet executed, that remove or revoke what belongs to a client, but keep its row.

    ``tests/security/test_ends_in_every_table.py`` has the decision for each table.
    """
    return (
        clients.remove_secrets(client_id),
        registrations.remove(client_id),
        subscriptions.remove(client_id),
        interactions.remove_all_of_client(client_id),
        device_codes.remove_all_of_client(client_id),
        consents.remove_all_of_client(client_id),
        *_grant_revocation_statements(client_id, now),
    )


def register_client(
    runtime: Runtime,
    now: float,
    *,
    name: str,
    policy: str,
    redirect_uris: Sequence[str] = (),
    scope: str | None = None,
    grant_types: Sequence[str] = (),
    client_id: str | None = None,
    members: Mapping[str, Any] | None = None,
    auth_method: str | None = None,
) -> CreatedClient:
    """Register a client for the operator or a user, and return its ``client_id`` and secret.

    :param name: the name of the client that users see.
    :param policy: name of one of ``CLIENT_POLICIES``, e.g. ``web`` or ``machine``.
    :param redirect_uris: required if the client uses the authorization code grant.
    :param scope: the scopes that the client may request, separated by spaces; all scopes of the server by default.
    :param grant_types: if empty, the default grant types of the policy are used.
    :param client_id: if ``None``, a random one is generated.
    :param members: further client metadata, with the member names of RFC 7591 §2.
    :param auth_method: ``token_endpoint_auth_method``; by default the first that the policy allows.
    :raises RegistrationRefused: if the client cannot be registered; the message lists every problem.
    """
    rules = CLIENT_POLICIES.get(policy)
    if rules is None:
        raise RegistrationRefused(f"there is no policy {policy!r}; choose one of {', '.join(CLIENT_POLICIES)}")
    arguments = {"redirect_uris": list(redirect_uris), "scope": scope, "token_endpoint_auth_method": auth_method}
    sent = {**(members or {}), "client_name": name, **{key: value for key, value in arguments.items() if value}}
    sent["grant_types"] = list(grant_types) or sent.get("grant_types") or list(rules.default_grant_types)
    if client_id is not None and not _CLIENT_ID.fullmatch(client_id):
        raise RegistrationRefused("client_id must be 1 to 200 printable ASCII characters without spaces")
    metadata = validate_operator_metadata(runtime.settings, rules, sent)
    if client_id == PERSONAL_TOKEN_CLIENT_ID:
        raise RegistrationRefused(f"{client_id} is reserved for personal access tokens; choose another client_id")
    created = register(runtime, client_id or random_id(), policy, metadata, now, detail=name)
    if created is None:
        raise RegistrationRefused(f"there is a client {client_id} already; choose another client_id")
    return created


CLI_CLIENT_ID = "valetkey-cli"


def register_cli_client(runtime: Runtime, now: float) -> None:
    """Register the OAuth client that the command ``valetkey login`` uses, if it does not exist yet.

    It is a public client with the policy ``native``, and is redirected to any port of the loopback address
    (RFC 8252 §7.3).
    """
    if clients.find(runtime.store, CLI_CLIENT_ID, now) is None:
        register_client(
            runtime,
            now,
            name="Valetkey command line",
            policy="native",
            redirect_uris=["http://127.0.0.1/callback", "http://[::1]/callback"],
            # Without the device code grant: phishers could use the trusted name of this client (RFC 8628 §5.4).
            grant_types=["authorization_code", "refresh_token"],
            client_id=CLI_CLIENT_ID,
        )


def add_secret(store: Store, client: Client, now: float, *, old_secret_ttl_s: int) -> Secret:
    """Create a secret for a client and return it; existing secrets expire after ``old_secret_ttl_s`` seconds.

    :raises RegistrationRefused: if the client does not authenticate with a secret.
    """
    if client.auth_method not in SECRET_AUTH_METHODS:
        raise RegistrationRefused(
            f"this client does not authenticate with a secret: its authentication method is {client.auth_method}"
        )
    secret = generate_secret(CLIENT_SECRET)
    store.write_all(
        clients.expire_secrets(client.client_id, now + old_secret_ttl_s),
        clients.add_secret(client.client_id, secret.digest(), now),
        change_feed.add("changed", client.client_id),
        audit_statement("client.secret_added", now, client_id=client.client_id),
    )
    return secret


def find_or_create_client(runtime: Runtime, client_id: str, now: float) -> Client | None:
    """Return the client with this id, disabled or not; ``None`` if there is none.

    A client with a metadata document is stored first, so that the operator can approve or disable it.
    """
    client = clients.find(runtime.store, client_id, now)
    if client is not None or not runtime.client_metadata_documents.is_document_url(client_id):
        return client
    register(runtime, client_id, DOCUMENT_POLICY, {"token_endpoint_auth_method": "none"}, now)
    return clients.find(runtime.store, client_id, now)


def disable_client(store: Store, client: Client, now: float) -> None:
    """Disable a client: it can no longer authenticate, and its access and refresh tokens are revoked."""
    store.write_all(
        clients.set_disabled(client.client_id, now),
        *client_revocation_statements(client.client_id, now),
        audit_statement("client.disabled", now, client_id=client.client_id),
    )


def enable_client(store: Store, client: Client, now: float) -> None:
    """Enable a disabled client, or approve a client that registered itself. Revoked tokens stay revoked.

    :param client: the client as the operator has seen it.
    :raises RegistrationRefused: if the client was changed, disabled, enabled or removed since it was read.
    """
    enabled = clients.change(client, metadata=client.metadata, disabled_at=None)
    rows = (
        registrations.approve(client.client_id),
        change_feed.add("changed", client.client_id),
        audit_statement("client.enabled", now, client_id=client.client_id),
    )
    if not store.write(Transaction(enabled, rows)):
        raise changed_meanwhile(client)


def changed_meanwhile(client: Client) -> RegistrationRefused:
    """Return the exception to raise if the operator's change is not written, because the client was changed since."""
    return RegistrationRefused(
        f"nothing was written: the client {client.client_id} was changed, disabled, enabled or removed meanwhile. "
        "Look at it, and run the command again"
    )
