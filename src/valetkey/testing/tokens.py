"""Create access tokens for tests without HTTP: signed with the app's keys, and verified like any other token."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import replace
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from flask import Flask

from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.plans.service import subscribe
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.secret import random_id
from valetkey.runtime import Runtime
from valetkey.settings import Settings, SettingsError
from valetkey.storage import clients, resources
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import Grant, add
from valetkey.tokens.access import Access
from valetkey.tokens.generator import GeneratedToken, TokenGenerator
from valetkey.tokens.grant_scope import limit_scope_to_plan
from valetkey.web.context import EXTENSION

CLIENT_ID = "test-client"
# Apps for which tokens were generated. The pytest plugin sets it while it sets up a fixture that outlives a test.
apps_with_tokens: ContextVar[set[Flask] | None] = ContextVar("apps_with_tokens", default=None)
_REDIRECT_URI = "https://client.example/callback"


def mint_token(
    app: Flask,
    scope: str = "",
    *,
    user_id: str | int | UUID | None = None,
    client_id: str = CLIENT_ID,
    acr: str | None = None,
    auth_time: float | None = None,
    expires_in: int | None = None,
    resource: str | None = None,
    plan: str | None = None,
) -> str:
    """Return a new access token for an app under test.

    It is a real token: ``require_oauth`` verifies it as usual, and nothing is patched.

    :param app: the Flask app with a ``Valetkey``.
    :param scope: the scopes of the token, separated by spaces.
    :param user_id: the user who granted access, for ``current_token.user_id``; a number or UUID becomes text. By
        default, the token has no user: the client acts on its own behalf.
    :param client_id: the client that calls the API; it is registered if it does not exist.
    :param acr: authentication context class of the user's sign-in, for routes with ``acr=`` (RFC 9470).
    :param auth_time: time of the user's sign-in, in seconds since 1970, for routes with ``max_age=``; now by default.
    :param expires_in: lifetime in seconds; ``access_token_lifetime`` of the settings by default. A negative number
        returns an expired token.
    :param resource: resource identifier of the API that the token is for (RFC 8707); the app's own API by default.
    :param plan: plan to which the client is subscribed by this call; by default, its plan does not change.
    :raises SettingsError: if the app has no ``Valetkey``, or its issuer is not on loopback, because its keys are
        production keys then.
    :raises ValueError: if ``scope`` is no text, if ``user_id`` is no id, if the app has no such scope or plan, if the
        plan does not include the scope, if the app's ``resource_owner`` does not find the user, or if ``acr`` or
        ``auth_time`` is passed without ``user_id``.
    """
    runtime = find_runtime(app)
    check_loopback_issuer(runtime.settings)
    if (apps := apps_with_tokens.get()) is not None:
        apps.add(app)
    if not runtime.is_ready:
        runtime.get_ready()
    scopes = _parse_scopes(runtime.settings, scope)
    user = _user_id_as_text(user_id)
    if user is None and (acr is not None or auth_time is not None):
        raise ValueError("acr and auth_time describe a user's sign-in: pass the user with user_id=")
    if user is not None:
        _check_user(runtime, user)
    if plan is not None and plan not in runtime.settings.plans:
        raise ValueError(f"the app has no plan {plan!r}{_suggestion(plan, runtime.settings.plans)}")
    audience = resource or runtime.settings.api_resource
    _ensure_client_and_resource(runtime, client_id, audience)
    if plan is not None and runtime.subscriptions.get_plan_name(client_id, runtime.clock()) != plan:
        subscribe(runtime, client_id, plan, runtime.clock(), approved=True)
    allowed = limit_scope_to_plan(scopes, client_id, runtime.subscriptions, runtime.settings, runtime.clock())
    if missing := scopes - allowed:
        raise ValueError(
            f"the plan of {client_id} has no scope {format_scope(missing)}: choose another plan with plan="
        )
    grant = None if user is None else _create_grant(runtime, user, client_id, scopes, audience, acr, auth_time)
    return _generate_token(runtime, grant, client_id, scopes, audience, expires_in)


def headers_for(app: Flask, scope: str = "", **options: Any) -> dict[str, str]:
    """Return request headers with a new access token: ``{"Authorization": "Bearer ..."}``.

    :param app: the Flask app with a ``Valetkey``.
    :param scope: the scopes of the token, separated by spaces.
    :param options: the keyword arguments of ``mint_token``.
    :raises SettingsError, ValueError: if ``mint_token`` raises them.
    """
    return {"Authorization": f"Bearer {mint_token(app, scope, **options)}"}


def find_runtime(app: Flask) -> Runtime:
    """Return the ``Runtime`` of an app.

    :raises SettingsError: if the app has no ``Valetkey``, or a ``ResourceServer`` instead.
    """
    extension = app.extensions.get(EXTENSION)
    if extension is None:
        raise SettingsError(f"the app {app.name!r} has no Valetkey: add Valetkey(app, scopes={{...}})")
    if not isinstance(extension, Runtime):
        raise SettingsError(
            f"the app {app.name!r} has a ResourceServer, and no Valetkey that could sign a token: in tests, use "
            "Valetkey(app, scopes={...}) instead of ResourceServer"
        )
    return extension


def check_loopback_issuer(settings: Settings) -> None:
    """Check that an app's keys are not production keys.

    :raises SettingsError: if the issuer is not on loopback.
    """
    if settings.is_production:
        raise SettingsError(
            f"valetkey.testing works on loopback only, and this app's issuer is {settings.issuer}: "
            "take the issuer from the environment or the configuration (VALETKEY_ISSUER), and do not set it in tests"
        )


def _check_user(runtime: Runtime, user_id: str) -> None:
    """Check that the app's ``resource_owner`` finds the user, as the guard does at each call."""
    if runtime.can_find_host_users and runtime.owners.find(user_id) is None:
        raise ValueError(f"resource_owner.find({user_id!r}) returns None: create the user before the token")


def _user_id_as_text(user_id: object) -> str | None:
    """Return the id of a user as tokens have it, or ``None`` for a token without a user.

    :raises ValueError: if it is neither text, a whole number nor a UUID.
    """
    if user_id is None:
        return None
    if isinstance(user_id, bool) or not isinstance(user_id, str | int | UUID):
        raise ValueError(f"user_id must be text, a whole number or a UUID, not a {type(user_id).__name__}")
    return str(user_id)


def _parse_scopes(settings: Settings, scope: str) -> frozenset[str]:
    if not isinstance(scope, str):
        raise ValueError(f"scope must be text such as 'notes:read notes:write', not a {type(scope).__name__}")
    scopes, valid = parse_scope(scope), settings.known_scopes
    for name in sorted(scopes - valid.keys()):
        raise ValueError(f"the app has no scope {name!r}{_suggestion(name, valid)}")
    return scopes


def _suggestion(name: str, valid_names: Iterable[str]) -> str:
    close = get_close_matches(name, list(valid_names), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _ensure_client_and_resource(runtime: Runtime, client_id: str, resource: str) -> None:
    now = runtime.clock()
    if clients.find(runtime.store, client_id, now) is None:
        register_client(
            runtime,
            runtime.clock(),
            name=client_id,
            policy="web",
            redirect_uris=[_REDIRECT_URI],
            grant_types=["authorization_code", "refresh_token", "client_credentials"],
            client_id=client_id,
        )
    if resource not in runtime.resources.all():
        runtime.store.write(Transaction(rows=(resources.upsert(resource, {}, now),)))
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
    """Store the grant of a user to a client, as the consent page does, and return it.

    :param owner: the id of the user.
    :param audience: the resource identifier of the API that the grant is for.
    :param acr: authentication context class of the user's sign-in, or None.
    :param auth_time: time of the user's sign-in, in seconds since 1970; None for now.
    """
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
    runtime.store.write(Transaction(rows=(add(grant),)))
    return grant


def _generate_token(
    runtime: Runtime,
    grant: Grant | None,
    client_id: str,
    scope: frozenset[str],
    audience: str,
    expires_in: int | None,
) -> str:
    now, generator = runtime.clock(), runtime.token_generator
    if expires_in is not None and expires_in > 0:
        settings = replace(runtime.settings, access_token_lifetime=expires_in)
        generator = TokenGenerator(settings, runtime.keys, runtime.resources)
    elif expires_in is not None:
        now += expires_in - runtime.settings.access_token_lifetime  # issued so long ago that it has expired
    access = Access(client_id, scope, (audience,), grant.owner if grant else None, now)
    token: GeneratedToken = generator.generate_access_token(access, grant=grant, feed_view=runtime.feed.get_view())
    if token.row is not None:
        runtime.store.write(Transaction(rows=(token.row,)))
    return token.value
