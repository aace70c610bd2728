"""``valetkey check``: find errors and unsafe settings before the app is served."""

from __future__ import annotations

from collections.abc import Iterator

import click
from flask import Flask

from valetkey.federation.endpoints import find_endpoints
from valetkey.outbound.discovery import Discovery
from valetkey.outbound.errors import FetchError
from valetkey.outbound.mail import MailNotSent, check_mail_server
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.rate_limiting.limit import parse_limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.resource_server.routes import find_reaching_paths, find_undecorated_paths, iter_routes
from valetkey.resource_server.standalone_context import StandaloneContext
from valetkey.resource_server.start_checks import route_problems
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.settings.environment import Environment
from valetkey.storage import leases, outbox
from valetkey.storage.engine.postgresql import PoolMode, find_pool_mode
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import DatabaseMissing
from valetkey.storage.schema import check_schema
from valetkey.web.context import EXTENSION
from valetkey.web.flask_bypass import BYPASS_EXTENSION, FlaskBypass

from .app_loading import load_app

_OVERDUE_S = 300.0  # a running worker runs a job within seconds
_PROBE_LIMIT = parse_limit("1/second")
_SMALL_BURST = 10  # calls; a default burst below this is named


@click.command()
@click.pass_context
def check(context: click.Context) -> None:
    """Check the app's settings, routes, database and keys.

    The exit status is 1 if there are problems that must be fixed.
    """
    app = load_app(context, allow_resource_server=True, as_served=True)
    extension: Runtime | StandaloneContext = app.extensions[EXTENSION]
    problems, advice = (
        check_authorization_server(app, extension)
        if isinstance(extension, Runtime)
        else check_resource_server(app, extension)
    )
    problems += extension.sources.environment.unknown
    advice += variables_of_other_extension(extension.sources.environment)
    extension.close()
    for line in problems:
        click.echo(f"problem: {line}")
    for line in advice:
        click.echo(f"advice:  {line}")
    for line in flask_notes(app):
        click.echo(f"note:    {line}")
    if problems:
        raise SystemExit(1)
    address = f" as {extension.settings.issuer}" if isinstance(extension, Runtime) else ""
    click.echo(f"Ready to serve{address}." if not advice else f"Ready to serve{address}, with the advice above.")


def check_authorization_server(app: Flask, runtime: Runtime) -> tuple[list[str], list[str]]:
    """Return the problems that must be fixed, and advice, as sentences, for an app with a ``Valetkey``.

    :raises StoreUnavailable: if the database does not respond, its schema is older or newer than this code needs, or
        its signing keys cannot be decrypted.
    """
    problems = [*route_problems(app, runtime.plan_budgets), *unknown_scopes(app, runtime.settings)]
    advice = [*unsafe_settings(runtime.settings), *undecorated_routes(app, runtime.settings)]
    advice += unused_scopes(app, runtime.settings)
    advice += small_bursts(app, runtime.settings)
    advice += check_database(runtime)
    if runtime.store.dialect == "postgresql":
        pool_mode = find_pool_mode(runtime.settings.store_url)
        problems += pooler_problems(pool_mode, runtime.settings.database_pooler)
        advice += pooler_advice(pool_mode, runtime.settings.database_pooler)
    if runtime.settings.redis_url:  # other counters are in the database, or in a file that this would create
        problems += redis_problems(runtime.admission.limiter, runtime.clock())
    advice += mail_server_advice(runtime.settings)
    advice += provider_advice(runtime.settings, runtime.provider_metadata)
    return problems, advice


def check_database(runtime: Runtime) -> Iterator[str]:
    """Check the schema and the keys of the database, without creating or changing anything.

    Yield advice about its queued jobs, or a sentence if there is no SQLite database yet: a server creates it when it
    starts.

    :raises StoreUnavailable: if the database does not respond, its schema is older or newer than this code needs, or
        its signing keys cannot be decrypted.
    """
    try:
        check_schema(runtime.store)
    except DatabaseMissing as missing:
        yield f"{missing}; the first server that starts creates a new one"
        return
    runtime.keys.check(runtime.clock())
    yield from outbox_advice(runtime.store, runtime.clock())


def pooler_problems(pool_mode: PoolMode, setting: str) -> Iterator[str]:
    """Yield an error message if a connection pooler cannot be used with the setting ``database_pooler``."""
    if pool_mode == "transaction" and setting == "session":
        yield (
            "database_pooler is 'session', but the connection pooler uses another session of the database for each "
            "transaction: set it to 'transaction'"
        )


def pooler_advice(pool_mode: PoolMode, setting: str) -> Iterator[str]:
    """Yield a sentence of advice if there is a connection pooler that the setting ``database_pooler`` does not name."""
    if pool_mode is not None and setting == "auto":
        yield (
            "a connection pooler is in front of the database, so that statements are not prepared: set database_pooler "
            "to 'transaction', or to 'session' if that is its mode"
        )


def check_resource_server(app: Flask, context: StandaloneContext) -> tuple[list[str], list[str]]:
    """Return the problems that must be fixed, and advice, as sentences, for an app with a ``ResourceServer``.

    The authorization servers that issue its tokens define the scopes, so these are not checked.
    """
    problems = [*route_problems(app, None), *redis_problems(context.admission.limiter, context.clock())]
    return problems, list(undecorated_routes(app, context.settings))


def unsafe_settings(settings: Settings) -> Iterator[str]:
    """Yield a sentence of advice for each setting that is allowed but unsafe, or missing in production."""
    if settings.has_default_issuer:
        yield (
            f"issuer is not set, so that other servers than `valetkey serve` take {settings.issuer} and serve only "
            "requests to 127.0.0.1, ::1 or localhost: set it to the URL of this server"
        )
    if settings.access_token_lifetime > 3600:
        yield "access_token_lifetime is over an hour: a stolen token can be used that long (RFC 9700 §2.2.1)"
    if settings.authorization_code_lifetime > 120:
        yield "authorization_code_lifetime is over two minutes (RFC 6749 §4.1.2, RFC 9700 §4.5)"
    if settings.revocation_outage == "accept":
        yield "revocation_outage='accept': while the database is unavailable, revoked tokens are accepted (RFC 7009 §3)"
    if settings.is_production and settings.store_url.startswith("sqlite"):
        yield "SQLite serves one machine; for more, set database_url to PostgreSQL"
    if settings.is_production and settings.security_contact is None:
        yield "set security_contact, so that security problems can be reported to you (RFC 9116 §2.5.3)"


def small_bursts(app: Flask, settings: Settings) -> Iterator[str]:
    """Yield a sentence of advice for each limit of a route or plan whose default burst, a tenth of its calls, is small.

    A page that makes a few calls at once then gets 429 responses, although it is far below its limit.
    """
    limits = [(plan.limit, f"the plan {name}") for name, plan in settings.plans.items() if plan.limit]
    for route in iter_routes(app):
        for protection in route.protections:
            limit = protection.limit.limit if protection.limit else ""
            texts = [limit] if isinstance(limit, str) else list(limit.values())
            limits += [(text, route.path) for text in texts if text]
    for text, place in dict.fromkeys(limits):
        burst = parse_limit(text).burst
        if "burst" not in text and burst < _SMALL_BURST:
            yield (
                f"the limit {text!r} of {place} admits {burst} calls at once, a tenth: for more, write "
                f"'{text} burst {_SMALL_BURST}'"
            )


def flask_notes(app: Flask) -> Iterator[str]:
    """Yield a sentence for each reason why Flask handles the machine endpoints, which takes longer."""
    bypass: FlaskBypass | None = app.extensions.get(BYPASS_EXTENSION)
    if bypass is not None and app.extensions[EXTENSION].settings.endpoints_bypass_flask:
        for reason in bypass.list_reasons():
            yield f"the token endpoint and its neighbors are handled by Flask, not before it, because of {reason}"


def variables_of_other_extension(environment: Environment) -> Iterator[str]:
    """Yield a sentence of advice for each environment variable that only the other extension reads."""
    for variable in environment.other:
        yield f"{variable} has no effect: this app does not have this setting"


def redis_problems(limiter: Limiter, now: float) -> Iterator[str]:
    """Yield an error message if the rate limit counters in Redis cannot be changed.

    Besides an unreachable server, that is a user who may not run scripts, a full memory or a read-only replica.
    """
    try:
        limiter.spend("check", _PROBE_LIMIT, now)
    except BackendUnavailable as error:
        yield f"{error}: until then, calls are not limited, and routes with a limit that fails closed respond with 503"


def mail_server_advice(settings: Settings) -> Iterator[str]:
    """Yield a sentence of advice if a mail server is configured and does not respond.

    It is no error: mail stays queued in the database until the server responds.
    """
    if settings.mail_url:
        try:
            check_mail_server(settings)
        except MailNotSent as problem:
            yield f"the mail server of mail_url does not accept mail ({problem})"


def provider_advice(settings: Settings, provider_metadata: Discovery) -> Iterator[str]:
    """Yield a sentence of advice for each provider in ``sign_in_with`` whose endpoints are not found.

    It is no error: the provider may respond later, and users get a page with the other ways to sign in.
    """
    for provider in settings.sign_in_with:
        try:
            find_endpoints(provider, provider_metadata)
        except (FetchError, BackendUnavailable) as problem:
            yield f"users cannot sign in with {provider.name} ({provider.issuer}) now: {problem}"


def outbox_advice(store: Store, now: float) -> Iterator[str]:
    """Yield a sentence of advice if background jobs are parked, or wait because no worker runs them."""
    parked = outbox.count_parked(store)
    if parked:
        yield f"parked background jobs: {parked}; see `valetkey outbox list`, then retry or drop them"
    overdue = outbox.count_overdue(store, now - _OVERDUE_S)
    if overdue and not leases.is_active("worker", store, now):
        yield f"background jobs wait, because no worker runs: {overdue}; start `valetkey work` or set embedded_worker"


def undecorated_routes(app: Flask, settings: Settings) -> Iterator[str]:
    """Yield a sentence of advice for each route without ``@public`` or ``@require_oauth`` that serves the API.

    Its path is below ``api_prefix``, or it can match a URL below it.
    """
    denied = "; calls are denied (protect_by_default)" if settings.protect_by_default else ""
    for path in find_undecorated_paths(app, settings.api_prefix):
        yield f"{path} has neither @public nor @require_oauth: add one{denied}"
    denied_there = "; such calls are denied (protect_by_default)" if settings.protect_by_default else ""
    for path in find_reaching_paths(app, settings.api_prefix):
        yield (
            f"{path} can match URLs below {settings.api_prefix} too, and has neither @public nor @require_oauth: "
            f"add one{denied_there}"
        )


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
