"""Make a client known (RFC 6749 §2), give it another secret, put it out. Used by the command line and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valetkey.activity.auditing import audit
from valetkey.protocol.errors import InvalidScope
from valetkey.protocol.policy import POLICIES, Policy
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.secret import CLIENT_SECRET, Secret, mint, random_id
from valetkey.protocol.uri import redirect_uri_problem
from valetkey.runtime import Runtime
from valetkey.storage import clients, grants, revocations
from valetkey.storage.clients import Client
from valetkey.storage.write import Write

from .logout_members import logout_problems


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
) -> Registered:
    """Register a client under a policy; without ``scope`` it may ask for all scopes of the server.

    :raises RegistrationRefused: with every problem.
    """
    rules = POLICIES.get(policy)
    if rules is None:
        raise RegistrationRefused(f"there is no policy {policy!r}; there are {', '.join(POLICIES)}")
    problems = [*_name_problems(name), *_redirect_problems(rules, redirect_uris, grant_types)]
    problems += _scope_problems(runtime, scope) + _grant_type_problems(rules, grant_types)
    problems += logout_problems(rules, members or {}, redirect_uris)
    if problems:
        raise RegistrationRefused("\n".join(problems))
    made = Registered(client_id or random_id(), None if rules.is_public else mint(CLIENT_SECRET))
    metadata = {
        **(members or {}),
        "client_name": name.strip(),
        "redirect_uris": list(redirect_uris),
        **({"scope": format_scope(parse_scope(scope))} if scope else {}),
        "grant_types": list(grant_types or rules.grant_types),
        "response_types": ["code"] if redirect_uris else [],
        "token_endpoint_auth_method": rules.auth_methods[0],
    }
    now = runtime.clock()
    rows = [
        clients.add(made.client_id, policy, metadata, now),
        audit("client.created", now, client_id=made.client_id, detail=name),
    ]
    if made.secret is not None:
        rows.append(clients.add_secret(made.client_id, made.secret.digest(), now))
    if clients.find(runtime.store, made.client_id, now) is not None:
        raise RegistrationRefused(f"there is a client {made.client_id} already")
    runtime.store.write(Write(rows=tuple(rows)))
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
            client_id=CLI_CLIENT_ID,
        )


def add_secret(runtime: Runtime, client: Client, *, old_lives: int) -> Secret:
    """A new secret; those that there are stay good for ``old_lives`` seconds more.

    :raises RegistrationRefused: for a client that keeps no secret.
    """
    if client.is_public:
        raise RegistrationRefused("a public client has no secret")
    secret, now = mint(CLIENT_SECRET), runtime.clock()
    runtime.revoke(
        clients.end_secrets(client.client_id, now + old_lives),
        clients.add_secret(client.client_id, secret.digest(), now),
        revocations.add("changed", client.client_id, now, runtime.revocation_ends),
        audit("client.secret_added", now, client_id=client.client_id),
    )
    return secret


def disable_client(runtime: Runtime, client: Client) -> None:
    """Out on every path: its authentication, its tokens, its refresh tokens."""
    now = runtime.clock()
    runtime.revoke(
        clients.change(client, disabled_at=now),
        grants.revoke_client(client.client_id, now),
        revocations.add("client", client.client_id, now, runtime.revocation_ends),
        audit("client.disabled", now, client_id=client.client_id),
    )


def enable_client(runtime: Runtime, client: Client) -> None:
    now = runtime.clock()
    runtime.revoke(
        clients.change(client, disabled_at=None),
        revocations.add("changed", client.client_id, now, runtime.revocation_ends),
        audit("client.enabled", now, client_id=client.client_id),
    )


def remove_client(runtime: Runtime, client: Client) -> None:
    now = runtime.clock()
    runtime.revoke(
        *clients.remove(client.client_id),
        grants.revoke_client(client.client_id, now),
        revocations.add("client", client.client_id, now, runtime.revocation_ends),
        audit("client.removed", now, client_id=client.client_id),
    )


def _name_problems(name: str) -> list[str]:
    return (
        [] if name.strip() and len(name) <= 100 and name.isprintable() else ["a name of 1 to 100 characters is needed"]
    )


def _redirect_problems(rules: Policy, uris: Sequence[str], grant_types: Sequence[str]) -> list[str]:
    found = ((uri, redirect_uri_problem(uri, native=rules.native)) for uri in uris)
    problems = [f"redirect URI {uri!r}: {problem}" for uri, problem in found if problem]
    if not uris and "authorization_code" in (grant_types or rules.grant_types):
        problems.append("at least one redirect URI is needed (--redirect-uri)")
    return problems


def _scope_problems(runtime: Runtime, scope: str | None) -> list[str]:
    try:
        unknown = parse_scope(scope) - runtime.settings.scopes.keys()
    except InvalidScope as refusal:
        return [refusal.description]
    known = ", ".join(sorted(runtime.settings.scopes)) or "none"
    return [f"unknown scope: {format_scope(unknown)} (there are: {known})"] if unknown else []


def _grant_type_problems(rules: Policy, grant_types: Sequence[str]) -> list[str]:
    allowed = (*rules.grant_types, *rules.more_grant_types)
    wrong = [grant_type for grant_type in grant_types if grant_type not in allowed]
    return [f"the policy {rules.name} does not allow the grant type {one}" for one in wrong]
