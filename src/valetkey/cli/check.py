"""``valetkey check``: every unsafe or contradictory thing before it is served."""

from __future__ import annotations

from collections.abc import Iterator

import click
from flask import Flask

from valetkey.extension import path_problems
from valetkey.outbound.mail import MailNotSent, check_mail_server
from valetkey.rate_limiting.limit import parse_limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.resource_server.limit_validation import limit_problems
from valetkey.resource_server.routes import routes_of, undecided_paths
from valetkey.resource_server.standalone_context import OwnWorld
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.web.context import EXTENSION

from .app_loading import opened_app

_ANY_LIMIT = parse_limit("1/second")


@click.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Judge settings, routes, store and keys.

    The exit status is 1 where something must be mended.
    """
    app = opened_app(context, may_be_alone=True)
    world: Runtime | OwnWorld = app.extensions[EXTENSION]
    problems, advice = judge(app, world) if isinstance(world, Runtime) else judge_alone(app, world)
    world.close()
    for line in problems:
        click.echo(f"problem: {line}")
    for line in advice:
        click.echo(f"advice:  {line}")
    if problems:
        raise SystemExit(1)
    click.echo("Ready to serve." if not advice else "Ready to serve, with the advice above.")


def judge(app: Flask, runtime: Runtime) -> tuple[list[str], list[str]]:
    """What must be mended, and what could be better.

    :raises StoreUnavailable, SettingsError: where the store or its keys cannot be used at all.
    """
    problems = [*path_problems(app), *unknown_scopes(app, runtime.settings)]
    problems += limit_problems(routes_of(app), runtime.plan_budgets)
    advice = [*unsafe_settings(runtime.settings), *undecided_routes(app, runtime.settings)]
    advice += unused_scopes(app, runtime.settings)
    runtime.get_ready()
    runtime.keys.current("ES256", runtime.clock())
    problems += silent_redis(runtime.limiter, runtime.clock())
    advice += silent_mail_server(runtime.settings)
    return problems, advice


def judge_alone(app: Flask, world: OwnWorld) -> tuple[list[str], list[str]]:
    """The same of a resource server alone, whose scopes and plans are its issuers'."""
    problems = [*limit_problems(routes_of(app), {}), *silent_redis(world.admission.limiter, world.clock())]
    return problems, list(undecided_routes(app, world.settings))


def unsafe_settings(settings: Settings) -> Iterator[str]:
    """Settings that are allowed, and weaker than they could be."""
    if settings.access_token_lifetime > 3600:
        yield "access_token_lifetime is over an hour: a stolen token is good as long (RFC 9700 §2.2.1)"
    if settings.authorization_code_lifetime > 120:
        yield "authorization_code_lifetime is over two minutes (RFC 6749 §4.1.2, RFC 9700 §4.5)"
    if settings.revocation_outage == "accept":
        yield "revocation_outage='accept': while the store is down, revoked tokens are good (RFC 7009 §3)"
    if settings.is_production and settings.store_url.startswith("sqlite"):
        yield "SQLite serves one machine; for more, set database_url to PostgreSQL"
    if settings.is_production and settings.security_contact is None:
        yield "set security_contact: whoever finds a hole has nowhere to tell it (RFC 9116 §2.5.3)"


def silent_redis(limiter: Limiter, now: float) -> Iterator[str]:
    """Who cannot count refuses what has a limit."""
    try:
        limiter.look("check", _ANY_LIMIT, now)
    except StoreUnavailable:
        yield "Redis does not answer at redis_url: until it does, routes with a limit that fails closed answer 503"


def silent_mail_server(settings: Settings) -> Iterator[str]:
    """Mail waits for it in the outbox."""
    if settings.mail_url:
        try:
            check_mail_server(settings)
        except MailNotSent as problem:
            yield f"the mail server of mail_url takes no mail now ({problem})"


def undecided_routes(app: Flask, settings: Settings) -> Iterator[str]:
    """Routes under the API's prefix about which nobody said whom they are for."""
    closed = ", and is closed (protect_by_default)" if settings.protect_by_default else ""
    for path in undecided_paths(app, settings.api_prefix):
        yield f"{path} says neither @public nor @require_oauth{closed}"


def unknown_scopes(app: Flask, settings: Settings) -> Iterator[str]:
    """Scopes that a route demands and nobody can grant."""
    needed = {(route.endpoint, scope) for route in routes_of(app) for scope in route.scopes - settings.scopes.keys()}
    for name, missing in sorted(needed):
        yield f"the route {name} needs the scope {missing!r}, which is not in scopes={{...}}"


def unused_scopes(app: Flask, settings: Settings) -> Iterator[str]:
    used = {scope for route in routes_of(app) for scope in route.scopes}
    for name in sorted(settings.scopes.keys() - used - {settings.personal_access_token_api_scope}):
        yield f"no route uses the scope {name!r}"
