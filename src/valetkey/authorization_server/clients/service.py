"""Make a client known (RFC 6749 §2), give it another secret, put it out. Used by the command line and pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valetkey.activity.audit import audit
from valetkey.authorization_server.openid.id_token import make_wanted_keys
from valetkey.caches.clients import DOCUMENT_POLICY
from valetkey.protocol.access_token import PERSONAL_CLIENT_ID
from valetkey.protocol.client_members import is_member, logout_problems, read_members
from valetkey.protocol.client_metadata import read_client_metadata
from valetkey.protocol.errors import InvalidScope, OAuthError
from valetkey.protocol.policy import POLICIES, SECRET_METHODS, Policy
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.secret import CLIENT_SECRET, Secret, mint, random_id
from valetkey.protocol.uri import redirect_uri_problem
from valetkey.runtime import Runtime
from valetkey.storage import clients, grants, personal_tokens, registrations, revocations, subscriptions
from valetkey.storage.clients import Client
from valetkey.storage.engine.transaction import Write

OPERATORS_MEMBERS = frozenset({"default_resource"})  # what no client may say of itself: where its tokens go

# RFC 6749 Appendix A.1 without the space; a colon is form-encoded in HTTP Basic (§2.3.1), so that a URL may be an id.
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,200}")


class RegistrationRefused(Exception):
    """The client cannot be registered so; the message lists every problem."""


@dataclass(frozen=True, slots=True)
class Registered:
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
) -> Registered:
    """Register a client under a policy; without ``scope`` it may ask for all scopes of the server.

    :param members: more of its metadata, by their names in RFC 7591 §2.
    :param auth_method: ``token_endpoint_auth_method``; the policy's first where left out.
    :raises RegistrationRefused: with every problem.
    """
    rules = POLICIES.get(policy)
    if rules is None:
        raise RegistrationRefused(f"there is no policy {policy!r}; there are {', '.join(POLICIES)}")
    told = {"redirect_uris": list(redirect_uris), "scope": scope, "token_endpoint_auth_method": auth_method}
    sent = {**(members or {}), "client_name": name, **{key: value for key, value in told.items() if value}}
    sent["grant_types"] = list(grant_types) or sent.get("grant_types") or list(rules.grant_types)
    if client_id is not None and not _CLIENT_ID.fullmatch(client_id):
        raise RegistrationRefused("a client_id is 1 to 200 letters, digits and marks, without spaces")
    metadata = _judge(runtime, rules, sent)
    if client_id == PERSONAL_CLIENT_ID:
        raise RegistrationRefused(f"{client_id} stands for personal access tokens: choose another client_id")
    has_secret = metadata["token_endpoint_auth_method"] in SECRET_METHODS
    made = Registered(client_id or random_id(), mint(CLIENT_SECRET) if has_secret else None)
    now = runtime.clock()
    rows = [
        clients.add(made.client_id, policy, metadata, now),
        audit("client.created", now, client_id=made.client_id, detail=name),
    ]
    if policy == "browser":  # the API's CORS knows its origin from now on
        rows.append(revocations.add("changed", made.client_id, now, runtime.revocation_ends))
    if made.secret is not None:
        rows.append(clients.add_secret(made.client_id, made.secret.digest(), now))
    if clients.find(runtime.store, made.client_id, now) is not None:
        raise RegistrationRefused(f"there is a client {made.client_id} already; choose another client_id")
    runtime.store.write(Write(rows=tuple(rows)))
    make_wanted_keys(runtime, metadata, now)
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


def add_secret(runtime: Runtime, client: Client, *, old_lives: int) -> Secret:
    """A new secret; those that there are stay good for ``old_lives`` seconds more.

    :raises RegistrationRefused: for a client that keeps no secret.
    """
    if client.auth_method not in SECRET_METHODS:
        raise RegistrationRefused("this client has no secret: it does not prove itself by one")
    secret, now = mint(CLIENT_SECRET), runtime.clock()
    runtime.revoke(
        clients.end_secrets(client.client_id, now + old_lives),
        clients.add_secret(client.client_id, secret.digest(), now),
        revocations.add("changed", client.client_id, now, runtime.revocation_ends),
        audit("client.secret_added", now, client_id=client.client_id),
    )
    return secret


def known_client(runtime: Runtime, client_id: str) -> Client | None:
    """The client of this name, disabled or not; one that describes itself gets a row, to be approved or disabled by."""
    now = runtime.clock()
    client = clients.find(runtime.store, client_id, now)
    if client is not None or not runtime.documents.is_named_by(client_id):
        return client
    row = clients.add(client_id, DOCUMENT_POLICY, {"token_endpoint_auth_method": "none"}, now)
    runtime.store.write(Write(rows=(row, audit("client.approved", now, client_id=client_id))))
    return clients.find(runtime.store, client_id, now)


def disable_client(runtime: Runtime, client: Client) -> None:
    """Out on every path: its authentication, its tokens, its refresh tokens."""
    now = runtime.clock()
    runtime.revoke(
        clients.change(client, disabled_at=now),
        grants.revoke_client(client.client_id, now),
        *personal_tokens.revoke_client(client.client_id, now, runtime.revocation_ends),
        revocations.add("client", client.client_id, now, runtime.revocation_ends),
        audit("client.disabled", now, client_id=client.client_id),
    )


def enable_client(runtime: Runtime, client: Client) -> None:
    now = runtime.clock()
    runtime.revoke(
        clients.change(client, disabled_at=None),
        registrations.approve(client.client_id),
        revocations.add("changed", client.client_id, now, runtime.revocation_ends),
        audit("client.enabled", now, client_id=client.client_id),
    )


def remove_client(runtime: Runtime, client: Client) -> None:
    now = runtime.clock()
    runtime.revoke(
        *clients.remove(client.client_id),
        registrations.remove(client.client_id),
        subscriptions.remove(client.client_id),
        grants.revoke_client(client.client_id, now),
        *personal_tokens.revoke_client(client.client_id, now, runtime.revocation_ends),
        revocations.add("client", client.client_id, now, runtime.revocation_ends),
        audit("client.removed", now, client_id=client.client_id),
    )


def _judge(runtime: Runtime, rules: Policy, sent: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata to register; an operator is told all that is wrong, of the common things together."""
    _check_kinds(sent)
    uris, grant_types, scope = sent.get("redirect_uris", ()), sent["grant_types"], sent.get("scope")
    problems = [*_name_problems(sent["client_name"]), *_redirect_problems(rules, uris, grant_types)]
    problems += _scope_problems(runtime, scope) + _grant_type_problems(rules, grant_types)
    problems += logout_problems(rules, sent, uris)
    unknown = [name for name in sent if name not in OPERATORS_MEMBERS and not is_member(name)]
    problems += [f"there is no member {name} of client metadata" for name in unknown]
    if problems:
        raise RegistrationRefused("\n".join(problems))
    try:
        _, metadata = read_client_metadata(sent, rules)
    except OAuthError as refusal:
        raise RegistrationRefused(refusal.description) from refusal
    metadata |= {name: sent[name] for name in OPERATORS_MEMBERS if name in sent}
    if scope:
        metadata["scope"] = format_scope(parse_scope(scope))
    return metadata


def _check_kinds(sent: Mapping[str, Any]) -> None:
    """See that each member has its JSON type, so that it can be judged."""
    try:
        read_members({name: value for name, value in sent.items() if name != "client_name"})
    except OAuthError as refusal:
        raise RegistrationRefused(refusal.description) from refusal


def _name_problems(name: Any) -> list[str]:
    good = isinstance(name, str) and name.strip() and len(name) <= 100 and name.isprintable()
    return [] if good else ["a name of 1 to 100 characters is needed"]


def _redirect_problems(rules: Policy, uris: Sequence[str], grant_types: Sequence[str]) -> list[str]:
    found = ((uri, redirect_uri_problem(uri, native=rules.native)) for uri in uris)
    problems = [f"redirect URI {uri!r}: {problem}" for uri, problem in found if problem]
    has_code = "authorization_code" in (grant_types or rules.grant_types)
    if not uris and has_code:
        problems.append("at least one redirect URI is needed (--redirect-uri)")
    if uris and "authorization_code" not in {*rules.grant_types, *rules.more_grant_types}:
        problems.append(f"a redirect URI is for apps that send people here: a {rules.name} client has none")
    return problems


def _scope_problems(runtime: Runtime, scope: str | None) -> list[str]:
    try:
        unknown = parse_scope(scope) - runtime.settings.known_scopes.keys()
    except InvalidScope as refusal:
        return [refusal.description]
    known = ", ".join(sorted(runtime.settings.scopes)) or "none"
    return [f"unknown scope: {format_scope(unknown)} (there are: {known})"] if unknown else []


def _grant_type_problems(rules: Policy, grant_types: Sequence[str]) -> list[str]:
    allowed = (*rules.grant_types, *rules.more_grant_types)
    wrong = [grant_type for grant_type in grant_types if grant_type not in allowed]
    return [f"the policy {rules.name} does not allow the grant type {one}" for one in wrong]
