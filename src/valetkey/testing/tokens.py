"""Access tokens without HTTP: signed with the app's keys, judged by the same guard as any other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from flask import Flask

from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.plans.service import subscribe
from valetkey.authorization_server.token.scope_and_resource import limit_scope_to_plan
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.secret import random_id
from valetkey.runtime import Runtime
from valetkey.settings import SettingsError
from valetkey.storage import clients, resources
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import Grant, add
from valetkey.tokens.generator import GeneratedToken, TokenGenerator
from valetkey.web.context import EXTENSION

CLIENT_ID = "test-client"
_REDIRECT_URI = "https://client.example/callback"


def mint_token(
    app: Flask,
    scope: str = "",
    *,
    user_id: str | None = None,
    client_id: str = CLIENT_ID,
    acr: str | None = None,
    auth_time: float | None = None,
    expires_in: int | None = None,
    resource: str | None = None,
    plan: str | None = None,
) -> str:
    """An access token that ``require_oauth`` takes for what it is, because it is one.

    :param scope: the scopes in it, space-separated.
    :param user_id: the person whose data it opens; left out: a program's own token.
    :param client_id: the app that calls; made known to the store where it is not yet.
    :param acr: how the person signed in (RFC 9470).
    :param auth_time: when, in seconds since 1970; now where left out.
    :param expires_in: seconds from now; the server's lifetime where left out, negative for an expired one.
    :param resource: the API that it is for (RFC 8707); the app's own where left out.
    :param plan: the plan that the calling app is subscribed to from now on; left out: what it has, else the default.
    :raises SettingsError: where the app's issuer is not on loopback: its keys are real.
    :raises ValueError: for a scope or plan that there is not, or not together; for a sign-in without a person.
    """
    runtime = runtime_for_tests(app)
    if not runtime.is_ready:
        runtime.get_ready()
    scopes = _parse_scopes(runtime, scope)
    if user_id is None and (acr is not None or auth_time is not None):
        raise ValueError("acr and auth_time tell how a person signed in: name one with user_id=")
    if plan is not None and plan not in runtime.settings.plans:
        raise ValueError(f"the app has no plan {plan!r}{_suggestion(plan, runtime.settings.plans)}")
    audience = resource or runtime.settings.api_resource
    _ensure_client_and_resource(runtime, client_id, audience)
    if plan is not None and runtime.subscriptions.get_plan_name(client_id, runtime.clock()) != plan:
        subscribe(runtime, client_id, plan, approved=True)
    if missing := scopes - limit_scope_to_plan(scopes, client_id, runtime):
        raise ValueError(f"the plan of {client_id} has no scope {format_scope(missing)}: choose another with plan=")
    grant = None if user_id is None else _create_grant(runtime, user_id, client_id, scopes, audience, acr, auth_time)
    return _generate_token(runtime, grant, client_id, scopes, audience, expires_in)


def headers_for(app: Flask, scope: str = "", **options: Any) -> dict[str, str]:
    """The headers of a call with such a token; takes what ``mint_token`` takes."""
    return {"Authorization": f"Bearer {mint_token(app, scope, **options)}"}


def runtime_for_tests(app: Flask) -> Runtime:
    """The app's runtime.

    :raises SettingsError: where the app has none, or is one that real apps call.
    """
    runtime: Runtime | None = app.extensions.get(EXTENSION)
    if runtime is None:
        raise SettingsError(f"the app {app.name!r} has no Valetkey: add Valetkey(app, scopes={{...}})")
    if runtime.settings.is_production:
        raise SettingsError(
            f"valetkey.testing works on loopback only, and this app's issuer is {runtime.settings.issuer}: "
            "take the issuer from the configuration, and leave it out in tests"
        )
    return runtime


def _parse_scopes(runtime: Runtime, scope: str) -> frozenset[str]:
    scopes, known = parse_scope(scope), runtime.settings.known_scopes
    for name in sorted(scopes - known.keys()):
        raise ValueError(f"the app has no scope {name!r}{_suggestion(name, known)}")
    return scopes


def _suggestion(name: str, valid_names: Iterable[str]) -> str:
    close = get_close_matches(name, list(valid_names), 1)
    return f"; is {close[0]!r} meant?" if close else ""


def _ensure_client_and_resource(runtime: Runtime, client_id: str, resource: str) -> None:
    now = runtime.clock()
    if clients.find(runtime.store, client_id, now) is None:
        register_client(
            runtime,
            name=client_id,
            policy="web",
            redirect_uris=[_REDIRECT_URI],
            grant_types=["authorization_code", "refresh_token", "client_credentials"],
            client_id=client_id,
        )
    if resource not in runtime.resources.all():
        runtime.write(Transaction(rows=(resources.upsert(resource, {}, now),)))
        runtime.resources.invalidate()


def _create_grant(
    runtime: Runtime,
    owner: str,
    client_id: str,
    scope: frozenset[str],
    audience: str,
    acr: str | None,
    auth_time: float | None,
) -> Grant:
    """What this person gave the app, as consent would have written it."""
    now = runtime.clock()
    grant = Grant(
        grant_id=random_id(),
        client_id=client_id,
        owner=owner,
        scope=format_scope(scope),
        resources=to_json([audience]),
        auth_time=now if auth_time is None else auth_time,
        acr=acr,
        amr=None,
        created_at=now,
        expires_at=now + runtime.settings.refresh_token_lifetime,
    )
    runtime.write(Transaction(rows=(add(grant),)))
    return grant


def _generate_token(
    runtime: Runtime,
    grant: Grant | None,
    client_id: str,
    scope: frozenset[str],
    audience: str,
    expires_in: int | None,
) -> str:
    now, mint = runtime.clock(), runtime.token_generator
    if expires_in is not None and expires_in > 0:
        settings = replace(runtime.settings, access_token_lifetime=expires_in)
        mint = TokenGenerator(settings, runtime.keys, runtime.resources)
    elif expires_in is not None:
        now += expires_in - runtime.settings.access_token_lifetime  # made so long ago that it has died since
    made: GeneratedToken = mint.generate_access_token(
        client_id=client_id, scope=scope, audience=(audience,), now=now, grant=grant
    )
    if made.row is not None:
        runtime.write(Transaction(rows=(made.row,)))
    return made.value
