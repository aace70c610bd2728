"""Operations on clients: register (RFC 6749 §2), add a secret, disable, enable, remove.

The command line and the pages call these functions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.id_token import ensure_signing_keys
from valetkey.caches.clients import DOCUMENT_POLICY
from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID
from valetkey.protocol.client_members import is_supported_member, logout_problems, parse_members
from valetkey.protocol.client_metadata import parse_client_metadata
from valetkey.protocol.client_policy import CLIENT_POLICIES, SECRET_AUTH_METHODS, ClientPolicy
from valetkey.protocol.errors import InvalidScope, OAuthError
from valetkey.protocol.redirect_uri import redirect_uri_problem
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.secret import CLIENT_SECRET, Secret, generate_secret, random_id
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, clients, grants, personal_access_tokens, registrations, subscriptions
from valetkey.storage.clients import Client
from valetkey.storage.engine.transaction import Transaction

# Metadata that only the operator may set. `default_resource`: the audience of the client's tokens if it requests none.
OPERATOR_ONLY_MEMBERS = frozenset({"default_resource"})

# RFC 6749 Appendix A.1 without the space. A URL can be a client_id: its colon is form-encoded in HTTP Basic (§2.3.1).
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,200}")


class RegistrationRefused(Exception):
    """The client cannot be registered or changed as requested; the message lists every problem."""


@dataclass(frozen=True, slots=True)
class CreatedClient:
    """A newly registered client.

    :param secret: the client secret, to be shown once since only its digest is stored; ``None`` if the client
        authenticates without one.
    """

    client_id: str
    secret: Secret | None


def register_client(
    runtime: Runtime,
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
    metadata = _validate_metadata(runtime, rules, sent)
    if client_id == PERSONAL_TOKEN_CLIENT_ID:
        raise RegistrationRefused(f"{client_id} is reserved for personal access tokens; choose another client_id")
    has_secret = metadata["token_endpoint_auth_method"] in SECRET_AUTH_METHODS
    created = CreatedClient(client_id or random_id(), generate_secret(CLIENT_SECRET) if has_secret else None)
    now = runtime.clock()
    rows = [
        clients.add(created.client_id, policy, metadata, now),
        audit_statement("client.created", now, client_id=created.client_id, detail=name),
    ]
    if policy == "browser":  # CORS of the API must allow its origin from now on
        rows.append(change_feed.add("changed", created.client_id, now, runtime.revocation_expiry))
    if created.secret is not None:
        rows.append(clients.add_secret(created.client_id, created.secret.digest(), now))
    if clients.find(runtime.store, created.client_id, now) is not None:
        raise RegistrationRefused(f"there is a client {created.client_id} already; choose another client_id")
    runtime.store.write(Transaction(rows=tuple(rows)))
    ensure_signing_keys(runtime, metadata, now)
    return created


CLI_CLIENT_ID = "valetkey-cli"


def register_cli_client(runtime: Runtime) -> None:
    """Register the OAuth client that the command ``valetkey login`` uses, if it does not exist yet.

    It is a public client with the policy ``native``, and is redirected to any port of the loopback address
    (RFC 8252 §7.3).
    """
    if clients.find(runtime.store, CLI_CLIENT_ID, runtime.clock()) is None:
        register_client(
            runtime,
            name="Valetkey command line",
            policy="native",
            redirect_uris=["http://127.0.0.1/callback", "http://[::1]/callback"],
            # Without the device code grant: phishers could use the trusted name of this client (RFC 8628 §5.4).
            grant_types=["authorization_code", "refresh_token"],
            client_id=CLI_CLIENT_ID,
        )


def add_secret(runtime: Runtime, client: Client, *, old_secret_ttl_s: int) -> Secret:
    """Create a secret for a client and return it; existing secrets expire after ``old_secret_ttl_s`` seconds.

    :raises RegistrationRefused: if the client does not authenticate with a secret.
    """
    if client.auth_method not in SECRET_AUTH_METHODS:
        raise RegistrationRefused(
            f"this client does not authenticate with a secret: its authentication method is {client.auth_method}"
        )
    secret, now = generate_secret(CLIENT_SECRET), runtime.clock()
    runtime.revoke(
        clients.expire_secrets(client.client_id, now + old_secret_ttl_s),
        clients.add_secret(client.client_id, secret.digest(), now),
        change_feed.add("changed", client.client_id, now, runtime.revocation_expiry),
        audit_statement("client.secret_added", now, client_id=client.client_id),
    )
    return secret


def find_or_create_client(runtime: Runtime, client_id: str) -> Client | None:
    """Return a client, disabled or not, or ``None`` if it does not exist.

    If ``client_id`` is the URL of a client metadata document, the client is stored in the database if it was not yet,
    so that the operator can approve or disable it.
    """
    now = runtime.clock()
    client = clients.find(runtime.store, client_id, now)
    if client is not None or not runtime.client_metadata_documents.is_document_url(client_id):
        return client
    row = clients.add(client_id, DOCUMENT_POLICY, {"token_endpoint_auth_method": "none"}, now)
    runtime.store.write(Transaction(rows=(row, audit_statement("client.approved", now, client_id=client_id))))
    return clients.find(runtime.store, client_id, now)


def disable_client(runtime: Runtime, client: Client) -> None:
    """Disable a client: it can no longer authenticate, and its access and refresh tokens are revoked."""
    now = runtime.clock()
    runtime.revoke(
        clients.change(client, disabled_at=now),
        grants.revoke_all_of_client(client.client_id, now),
        *personal_access_tokens.client_revocation_statements(client.client_id, now, runtime.revocation_expiry),
        change_feed.add("client", client.client_id, now, runtime.revocation_expiry),
        audit_statement("client.disabled", now, client_id=client.client_id),
    )


def enable_client(runtime: Runtime, client: Client) -> None:
    """Enable a disabled client, or approve a client that registered itself. Revoked tokens stay revoked."""
    now = runtime.clock()
    runtime.revoke(
        clients.change(client, disabled_at=None),
        registrations.approve(client.client_id),
        change_feed.add("changed", client.client_id, now, runtime.revocation_expiry),
        audit_statement("client.enabled", now, client_id=client.client_id),
    )


def remove_client(runtime: Runtime, client: Client) -> None:
    """Remove a client, its registration and its subscription to a plan, and revoke its grants and tokens."""
    now = runtime.clock()
    runtime.revoke(
        *clients.removal_statements(client.client_id),
        registrations.remove(client.client_id),
        subscriptions.remove(client.client_id),
        grants.revoke_all_of_client(client.client_id, now),
        *personal_access_tokens.client_revocation_statements(client.client_id, now, runtime.revocation_expiry),
        change_feed.add("client", client.client_id, now, runtime.revocation_expiry),
        audit_statement("client.removed", now, client_id=client.client_id),
    )


def _validate_metadata(runtime: Runtime, policy: ClientPolicy, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Check the metadata of a client against its policy and return the metadata to store.

    :param sent: the client metadata to check, with the member names of RFC 7591 §2.
    :raises RegistrationRefused: if the metadata is not valid; common mistakes are reported together in one message.
    """
    _check_member_types(sent)
    uris, grant_types, scope = sent.get("redirect_uris", ()), sent["grant_types"], sent.get("scope")
    problems = [*_name_problems(sent["client_name"]), *_redirect_problems(policy, uris, grant_types)]
    problems += _scope_problems(runtime, scope) + _grant_type_problems(policy, grant_types)
    problems += logout_problems(policy, sent, uris)
    unknown = [name for name in sent if name not in OPERATOR_ONLY_MEMBERS and not is_supported_member(name)]
    problems += [f"unknown client metadata member: {name}" for name in unknown]
    if problems:
        raise RegistrationRefused("\n".join(problems))
    try:
        _, metadata = parse_client_metadata(sent, policy)
    except OAuthError as refusal:
        raise RegistrationRefused(refusal.description) from refusal
    metadata |= {name: sent[name] for name in OPERATOR_ONLY_MEMBERS if name in sent}
    if scope:
        metadata["scope"] = format_scope(parse_scope(scope))
    return metadata


def _check_member_types(sent: Mapping[str, Any]) -> None:
    """Check that each member of client metadata has the right JSON type, because the other checks rely on it.

    :raises RegistrationRefused: if a member has another type.
    """
    try:
        parse_members({name: value for name, value in sent.items() if name != "client_name"})
    except OAuthError as refusal:
        raise RegistrationRefused(refusal.description) from refusal


def _name_problems(name: Any) -> list[str]:
    is_valid = isinstance(name, str) and name.strip() and len(name) <= 100 and name.isprintable()
    return [] if is_valid else ["a name of 1 to 100 characters is needed"]


def _redirect_problems(policy: ClientPolicy, uris: Sequence[str], grant_types: Sequence[str]) -> list[str]:
    checked = ((uri, redirect_uri_problem(uri, native=policy.native)) for uri in uris)
    problems = [f"redirect URI {uri!r}: {problem}" for uri, problem in checked if problem]
    uses_code = "authorization_code" in (grant_types or policy.default_grant_types)
    if not uris and uses_code:
        problems.append("at least one redirect URI is needed (--redirect-uri)")
    if uris and "authorization_code" not in {*policy.default_grant_types, *policy.optional_grant_types}:
        problems.append(f"a {policy.name} client cannot have a redirect URI: it does not use authorization codes")
    return problems


def _scope_problems(runtime: Runtime, scope: str | None) -> list[str]:
    try:
        unknown = parse_scope(scope) - runtime.settings.known_scopes.keys()
    except InvalidScope as refusal:
        return [refusal.description]
    available = ", ".join(sorted(runtime.settings.scopes)) or "none"
    return [f"unknown scope: {format_scope(unknown)} (available: {available})"] if unknown else []


def _grant_type_problems(policy: ClientPolicy, grant_types: Sequence[str]) -> list[str]:
    allowed = (*policy.default_grant_types, *policy.optional_grant_types)
    refused = [grant_type for grant_type in grant_types if grant_type not in allowed]
    return [f"the policy {policy.name} does not allow the grant type {grant_type}" for grant_type in refused]
