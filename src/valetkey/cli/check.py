"""``valetkey check``: find errors and unsafe settings before the app is served."""

from __future__ import annotations

from collections.abc import Iterator

import click
from flask import Flask

from valetkey.extension import path_problems
from valetkey.outbound.mail import MailNotSent, check_mail_server
from valetkey.rate_limiting.limit import parse_limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.resource_server.limit_validation import limit_problems
from valetkey.resource_server.routes import find_undecorated_paths, iter_routes
from valetkey.resource_server.standalone_context import StandaloneContext
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.web.context import EXTENSION

from .app_loading import load_app

_PROBE_LIMIT = parse_limit("1/second")


@click.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Check the app's settings, routes, database and keys.

    The exit status is 1 if there are problems that must be fixed.
    """
    app = load_app(context, allow_resource_server=True)
    extension: Runtime | StandaloneContext = app.extensions[EXTENSION]
    problems, advice = (
        check_authorization_server(app, extension)
        if isinstance(extension, Runtime)
        else check_resource_server(app, extension)
    )
    extension.close()
    for line in problems:
        click.echo(f"problem: {line}")
    for line in advice:
        click.echo(f"advice:  {line}")
    if problems:
        raise SystemExit(1)
    click.echo("Ready to serve." if not advice else "Ready to serve, with the advice above.")


def check_authorization_server(app: Flask, runtime: Runtime) -> tuple[list[str], list[str]]:
    """Return the problems that must be fixed, and advice, as sentences, for an app with a ``Valetkey``.

    :raises StoreUnavailable: if the database does not respond, its schema is older or newer than this code needs, or
        its signing keys cannot be decrypted.
    """
    problems = [*path_problems(app), *unknown_scopes(app, runtime.settings)]
    problems += limit_problems(iter_routes(app), runtime.plan_budgets)
    advice = [*unsafe_settings(runtime.settings), *undecorated_routes(app, runtime.settings)]
    advice += unused_scopes(app, runtime.settings)
    runtime.get_ready()
    runtime.keys.get_signing_key("ES256", runtime.clock())
    problems += redis_problems(runtime.limiter, runtime.clock())
    advice += mail_server_advice(runtime.settings)
    return problems, advice


def check_resource_server(app: Flask, context: StandaloneContext) -> tuple[list[str], list[str]]:
    """Return the problems that must be fixed, and advice, as sentences, for an app with a ``ResourceServer``.

    The authorization servers that issue its tokens define scopes and plans, so these are not checked.
    """
    problems = [*limit_problems(iter_routes(app), {}), *redis_problems(context.admission.limiter, context.clock())]
    return problems, list(undecorated_routes(app, context.settings))


def unsafe_settings(settings: Settings) -> Iterator[str]:
    """Yield a sentence of advice for each setting that is allowed but unsafe, or missing in production."""
    if settings.access_token_lifetime > 3600:
        yield "access_token_lifetime is over an hour: a stolen token is good as long (RFC 9700 §2.2.1)"
    if settings.authorization_code_lifetime > 120:
        yield "authorization_code_lifetime is over two minutes (RFC 6749 §4.1.2, RFC 9700 §4.5)"
    if settings.revocation_outage == "accept":
        yield "revocation_outage='accept': while the store is down, revoked tokens are good (RFC 7009 §3)"
    if settings.is_production and settings.store_url.startswith("sqlite"):
        yield "SQLite serves one machine; for more, set database_url to PostgreSQL"
    if settings.is_production and settings.security_contact is None:
        yield "set security_contact, so that security problems can be reported to you (RFC 9116 §2.5.3)"


def redis_problems(limiter: Limiter, now: float) -> Iterator[str]:
    """Yield an error message if the rate limit counters in Redis do not respond."""
    try:
        limiter.peek("check", _PROBE_LIMIT, now)
    except StoreUnavailable:
        yield "Redis does not answer at redis_url: until it does, routes with a limit that fails closed answer 503"


def mail_server_advice(settings: Settings) -> Iterator[str]:
    """Yield a sentence of advice if a mail server is configured and does not respond.

    It is no error: mail stays queued in the database until the server responds.
    """
    if settings.mail_url:
        try:
            check_mail_server(settings)
        except MailNotSent as problem:
            yield f"the mail server of mail_url takes no mail now ({problem})"


def undecorated_routes(app: Flask, settings: Settings) -> Iterator[str]:
    """Yield a sentence of advice for each route below ``api_prefix`` without ``@public`` or ``@require_oauth``."""
    closed = ", and is closed (protect_by_default)" if settings.protect_by_default else ""
    for path in find_undecorated_paths(app, settings.api_prefix):
        yield f"{path} says neither @public nor @require_oauth{closed}"


def unknown_scopes(app: Flask, settings: Settings) -> Iterator[str]:
    """Yield an error message for each scope that a route requires but the setting ``scopes`` does not contain."""
    needed = {(route.endpoint, scope) for route in iter_routes(app) for scope in route.scopes - settings.scopes.keys()}
    for name, missing in sorted(needed):
        yield f"the route {name} needs the scope {missing!r}, which is not in scopes={{...}}"


def unused_scopes(app: Flask, settings: Settings) -> Iterator[str]:
    """Yield a sentence of advice for each scope in the setting ``scopes`` that no route requires.

    The scope of the API for personal access tokens is left out: Valetkey uses it.
    """
    used = {scope for route in iter_routes(app) for scope in route.scopes}
    for name in sorted(settings.scopes.keys() - used - {settings.personal_access_token_api_scope}):
        yield f"no route uses the scope {name!r}"
