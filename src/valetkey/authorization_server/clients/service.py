"""Make a client known (RFC 6749 §2), give it another secret, put it out. Used by the command line and pages."""

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
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.secret import CLIENT_SECRET, Secret, generate_secret, random_id
from valetkey.protocol.uri import redirect_uri_problem
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, clients, grants, personal_access_tokens, registrations, subscriptions
from valetkey.storage.clients import Client
from valetkey.storage.engine.transaction import Transaction

OPERATOR_ONLY_MEMBERS = frozenset({"default_resource"})  # what no client may say of itself: where its tokens go

# RFC 6749 Appendix A.1 without the space; a colon is form-encoded in HTTP Basic (§2.3.1), so that a URL may be an id.
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,200}")


class RegistrationRefused(Exception):
    """The client cannot be registered so; the message lists every problem."""


@dataclass(frozen=True, slots=True)
class CreatedClient:
    client_id: str
    secret: Secret | None  # shown once, kept only as a digest


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
    """Register a client under a policy; without ``scope`` it may ask for all scopes of the server.

    :param members: more of its metadata, by their names in RFC 7591 §2.
    :param auth_method: ``token_endpoint_auth_method``; the policy's first where left out.
    :raises RegistrationRefused: with every problem.
    """
    rules = CLIENT_POLICIES.get(policy)
    if rules is None:
        raise RegistrationRefused(f"there is no policy {policy!r}; there are {', '.join(CLIENT_POLICIES)}")
    told = {"redirect_uris": list(redirect_uris), "scope": scope, "token_endpoint_auth_method": auth_method}
    sent = {**(members or {}), "client_name": name, **{key: value for key, value in told.items() if value}}
    sent["grant_types"] = list(grant_types) or sent.get("grant_types") or list(rules.default_grant_types)
    if client_id is not None and not _CLIENT_ID.fullmatch(client_id):
        raise RegistrationRefused("a client_id is 1 to 200 letters, digits and marks, without spaces")
    metadata = _validate_metadata(runtime, rules, sent)
    if client_id == PERSONAL_TOKEN_CLIENT_ID:
        raise RegistrationRefused(f"{client_id} stands for personal access tokens: choose another client_id")
    has_secret = metadata["token_endpoint_auth_method"] in SECRET_AUTH_METHODS
    made = CreatedClient(client_id or random_id(), generate_secret(CLIENT_SECRET) if has_secret else None)
    now = runtime.clock()
    rows = [
        clients.add(made.client_id, policy, metadata, now),
        audit_statement("client.created", now, client_id=made.client_id, detail=name),
    ]
    if policy == "browser":  # the API's CORS knows its origin from now on
        rows.append(change_feed.add("changed", made.client_id, now, runtime.revocation_expiry))
    if made.secret is not None:
        rows.append(clients.add_secret(made.client_id, made.secret.digest(), now))
    if clients.find(runtime.store, made.client_id, now) is not None:
        raise RegistrationRefused(f"there is a client {made.client_id} already; choose another client_id")
    runtime.store.write(Transaction(rows=tuple(rows)))
    ensure_signing_keys(runtime, metadata, now)
    return made


CLI_CLIENT_ID = "valetkey-cli"


def register_cli_client(runtime: Runtime) -> None:
    """The client that ``valetkey login`` is: native, public, on any loopback port (RFC 8252 §7.3)."""
    if clients.find(runtime.store, CLI_CLIENT_ID, runtime.clock()) is None:
        register_client(
            runtime,
            name="Valetkey command line",
            policy="native",
            redirect_uris=["http://127.0.0.1/callback", "http://[::1]/callback"],
            grant_types=["authorization_code", "refresh_token"],  # no device code: its name is too good a bait
            client_id=CLI_CLIENT_ID,
        )


def add_secret(runtime: Runtime, client: Client, *, old_secret_ttl_s: int) -> Secret:
    """A new secret; those that there are stay good for ``old_lives`` seconds more.

    :raises RegistrationRefused: for a client that keeps no secret.
    """
    if client.auth_method not in SECRET_AUTH_METHODS:
        raise RegistrationRefused("this client has no secret: it does not prove itself by one")
    secret, now = generate_secret(CLIENT_SECRET), runtime.clock()
    runtime.revoke(
        clients.expire_secrets(client.client_id, now + old_secret_ttl_s),
        clients.add_secret(client.client_id, secret.digest(), now),
        change_feed.add("changed", client.client_id, now, runtime.revocation_expiry),
        audit_statement("client.secret_added", now, client_id=client.client_id),
    )
    return secret


def find_or_create_client(runtime: Runtime, client_id: str) -> Client | None:
    """The client of this name, disabled or not; one that describes itself gets a row, to be approved or disabled by."""
    now = runtime.clock()
    client = clients.find(runtime.store, client_id, now)
    if client is not None or not runtime.client_metadata_documents.is_document_url(client_id):
        return client
    row = clients.add(client_id, DOCUMENT_POLICY, {"token_endpoint_auth_method": "none"}, now)
    runtime.store.write(Transaction(rows=(row, audit_statement("client.approved", now, client_id=client_id))))
    return clients.find(runtime.store, client_id, now)


def disable_client(runtime: Runtime, client: Client) -> None:
    """Out on every path: its authentication, its tokens, its refresh tokens."""
    now = runtime.clock()
    runtime.revoke(
        clients.change(client, disabled_at=now),
        grants.revoke_all_of_client(client.client_id, now),
        *personal_access_tokens.client_revocation_statements(client.client_id, now, runtime.revocation_expiry),
        change_feed.add("client", client.client_id, now, runtime.revocation_expiry),
        audit_statement("client.disabled", now, client_id=client.client_id),
    )


def enable_client(runtime: Runtime, client: Client) -> None:
    now = runtime.clock()
    runtime.revoke(
        clients.change(client, disabled_at=None),
        registrations.approve(client.client_id),
        change_feed.add("changed", client.client_id, now, runtime.revocation_expiry),
        audit_statement("client.enabled", now, client_id=client.client_id),
    )


def remove_client(runtime: Runtime, client: Client) -> None:
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
    """The metadata to register; an operator is told all that is wrong, of the common things together."""
    _check_member_types(sent)
    uris, grant_types, scope = sent.get("redirect_uris", ()), sent["grant_types"], sent.get("scope")
    problems = [*_name_problems(sent["client_name"]), *_redirect_problems(policy, uris, grant_types)]
    problems += _scope_problems(runtime, scope) + _grant_type_problems(policy, grant_types)
    problems += logout_problems(policy, sent, uris)
    unknown = [name for name in sent if name not in OPERATOR_ONLY_MEMBERS and not is_supported_member(name)]
    problems += [f"there is no member {name} of client metadata" for name in unknown]
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
    """See that each member has its JSON type, so that it can be judged."""
    try:
        parse_members({name: value for name, value in sent.items() if name != "client_name"})
    except OAuthError as refusal:
        raise RegistrationRefused(refusal.description) from refusal


def _name_problems(name: Any) -> list[str]:
    good = isinstance(name, str) and name.strip() and len(name) <= 100 and name.isprintable()
    return [] if good else ["a name of 1 to 100 characters is needed"]


def _redirect_problems(policy: ClientPolicy, uris: Sequence[str], grant_types: Sequence[str]) -> list[str]:
    found = ((uri, redirect_uri_problem(uri, native=policy.native)) for uri in uris)
    problems = [f"redirect URI {uri!r}: {problem}" for uri, problem in found if problem]
    has_code = "authorization_code" in (grant_types or policy.default_grant_types)
    if not uris and has_code:
        problems.append("at least one redirect URI is needed (--redirect-uri)")
    if uris and "authorization_code" not in {*policy.default_grant_types, *policy.optional_grant_types}:
        problems.append(f"a redirect URI is for apps that send people here: a {policy.name} client has none")
    return problems


def _scope_problems(runtime: Runtime, scope: str | None) -> list[str]:
    try:
        unknown = parse_scope(scope) - runtime.settings.known_scopes.keys()
    except InvalidScope as refusal:
        return [refusal.description]
    known = ", ".join(sorted(runtime.settings.scopes)) or "none"
    return [f"unknown scope: {format_scope(unknown)} (there are: {known})"] if unknown else []


def _grant_type_problems(policy: ClientPolicy, grant_types: Sequence[str]) -> list[str]:
    allowed = (*policy.default_grant_types, *policy.optional_grant_types)
    wrong = [grant_type for grant_type in grant_types if grant_type not in allowed]
    return [f"the policy {policy.name} does not allow the grant type {one}" for one in wrong]
