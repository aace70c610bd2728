"""Change the registration of a client: by the operator, and by a client that manages its own registration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.id_token import ensure_signing_keys
from valetkey.protocol.client_identity import covers_identity, describe_identity, identity_changes
from valetkey.protocol.client_policy import CLIENT_POLICIES, SECRET_AUTH_METHODS
from valetkey.protocol.consented_identity import read_refused_scopes, read_scopes, with_scopes
from valetkey.protocol.secret import CLIENT_SECRET, Secret, generate_secret
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import change_feed, clients, consents
from valetkey.storage.clients import Client
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction

from .operator_metadata import validate_operator_metadata
from .service import changed_meanwhile, client_revocation_statements


@dataclass(frozen=True, slots=True)
class ClientUpdate:
    """A change of a client's registration that was checked and can be written.

    :ivar metadata: the new metadata.
    :ivar changes: the old and the new value of each member that changes, by name; ``None`` if there is none.
    :ivar identity_changes: what users see of the change, as sentences: they are asked for consent again.
    :ivar ends_tokens: whether all tokens end, because the client will not authenticate any more.
    """

    client: Client
    policy: str
    metadata: Mapping[str, Any]
    changes: Mapping[str, tuple[Any, Any]]
    identity_changes: tuple[str, ...]
    ends_tokens: bool


def check_update(settings: Settings, client: Client, members: Mapping[str, Any], policy: str | None) -> ClientUpdate:
    """Check a change that the operator wants to make, without writing it.

    :param members: the new values of the members that change; ``None`` removes a member.
    :param policy: name of the new policy; ``None`` keeps the policy.
    :raises RegistrationRefused: if the client cannot be changed so; the message lists every problem.
    """
    rules = client.policy if policy is None else CLIENT_POLICIES[policy]
    default_scope = {name: value for name, value in client.metadata.items() if name == "default_scope"}
    sent = {**{name: value for name, value in client.metadata.items() if name not in default_scope}, **members}
    sent = {name: value for name, value in sent.items() if value is not None}
    if rules is not client.policy:  # they are checked against the new policy, or follow from it
        replaced = {"grant_types", "response_types", "token_endpoint_auth_method", "application_type"} - members.keys()
        sent = {name: value for name, value in sent.items() if name not in replaced}
    sent.setdefault("client_name", client.client_id)
    sent.setdefault("grant_types", list(rules.default_grant_types))
    metadata = {**validate_operator_metadata(settings, rules, sent), **default_scope}
    before = {"policy": client.policy.name, **client.metadata}
    after = {"policy": rules.name, **metadata}
    changes = {
        name: (before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }
    identity = describe_identity(client.client_id, rules.name, metadata)
    return ClientUpdate(
        client,
        rules.name,
        metadata,
        changes,
        () if covers_identity(client.identity, identity) else identity_changes(client.identity, identity),
        becomes_public(client, metadata),
    )


def write_update(runtime: Runtime, update: ClientUpdate, now: float, *, keep_consents: bool) -> Secret | None:
    """Write a change that ``check_update`` checked, and return the client's new secret; ``None`` if it gets none.

    :param keep_consents: whether users who allowed the client are not asked for consent again although it looks
        different to them now.
    :raises RegistrationRefused: if the client was changed, disabled, enabled or removed since it was read.
    """
    client = update.client
    secret, rows = secret_statements(client, update.metadata["token_endpoint_auth_method"], now)
    rows.append(audit_statement("client.changed", now, client_id=client.client_id, detail=", ".join(update.changes)))
    if keep_consents:
        identity = describe_identity(client.client_id, update.policy, update.metadata)
        rows += [
            consents.replace_identity(client.client_id, old, _with_scopes_of(old, identity))
            for old in consents.list_identities(runtime.store, client.client_id)
            if covers_identity(old, client.identity)
        ]
    rows += (
        client_revocation_statements(client.client_id, now)
        if update.ends_tokens
        else [change_feed.add("changed", client.client_id)]
    )
    changed = clients.change(client, policy=update.policy, metadata=update.metadata, disabled_at=client.disabled_at)
    if not runtime.store.write(Transaction(changed, tuple(rows))):
        raise changed_meanwhile(client)
    ensure_signing_keys(runtime.keys, update.metadata, now)
    return secret


def _with_scopes_of(consented: str, identity: str) -> str:
    """Return a client's new identity with the scopes that a consent to its old one has."""
    scopes = read_scopes(consented)
    return identity if scopes is None else with_scopes(identity, scopes, read_refused_scopes(consented))


def becomes_public(client: Client, metadata: Mapping[str, Any]) -> bool:
    """Return whether the update changes a confidential client to the authentication method ``none``.

    Its refresh tokens must then be revoked: anyone with a copy could use them.

    :param metadata: the new metadata of the client.
    """
    return not client.is_public and metadata["token_endpoint_auth_method"] == "none"


def secret_statements(client: Client, method: str, now: float) -> tuple[Secret | None, list[BoundStatement]]:
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
