"""``valetkey check``: find errors and unsafe settings before the app is served."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import click
from flask import Flask

from valetkey.developer_portal.reference import build_api_reference
from valetkey.federation.endpoints import find_endpoints
from valetkey.outbound.discovery import Discovery
from valetkey.outbound.errors import FetchError, MailNotSent
from valetkey.outbound.mail import check_mail_server
from valetkey.outbound.worker import is_worker_active
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.protocol.uri import is_loopback_host
from valetkey.rate_limiting.limit import parse_limit
from valetkey.rate_limiting.limiter import Limiter
from valetkey.resource_server.limit_validation import cost_advice
from valetkey.resource_server.routes import iter_routes
from valetkey.resource_server.standalone_context import StandaloneContext
from valetkey.resource_server.start_checks import route_problems, unknown_scopes
from valetkey.runtime import Runtime
from valetkey.service import is_app_named
from valetkey.settings import Settings
from valetkey.storage import outbox
from valetkey.storage.engine.postgresql import PoolMode, find_pool_mode
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import DatabaseMissing
from valetkey.storage.schema import check_not_read_only, check_schema
from valetkey.web.context import EXTENSION

from .app_checks import (
    flask_notes,
    secret_key_advice,
    small_bursts,
    undecorated_routes,
    unsafe_settings,
    unused_scopes,
    variables_of_other_extension,
)
from .app_loading import NO_APP, load_app

_OVERDUE_S = 300.0  # a running worker runs a job within seconds
_PROBE_LIMIT = parse_limit("1/second")


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
    document_problems, document_advice = check_openapi_document(extension)
    problems += document_problems + list(extension.sources.environment.unknown)
    advice += document_advice
    advice += variables_of_other_extension(extension.sources.environment)
    extension.close()
    for line in problems:
        click.echo(f"problem: {line}")
    for line in advice:
        click.echo(f"advice:  {line}")
    notes = [] if is_app_named() else [f"only the authorization server is checked. {NO_APP}"]
    for line in (*notes, *flask_notes(app)):
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
    problems = [
        *route_problems(app, runtime.settings, runtime.plan_budgets, runtime.admission.user_limit),
        *unknown_scopes(app, runtime.settings.scopes),
    ]
    advice = [*unsafe_settings(runtime.settings), *undecorated_routes(app, runtime.settings)]
    if not runtime.has_built_in_accounts:
        advice += secret_key_advice(app)
    advice += unused_scopes(app, runtime.settings)
    advice += small_bursts(app, runtime.settings)
    advice += cost_advice(iter_routes(app), runtime.settings, runtime.plan_budgets, runtime.admission.user_limit)
    try:
        advice += check_database(runtime)
    except DatabaseMissing as missing:
        advice.append(f"{missing}; the first server that starts creates a new one")
    if runtime.store.dialect == "postgresql":
        pool_mode = find_pool_mode(runtime.settings.store_url)
        problems += pooler_problems(pool_mode, runtime.settings.database_pooler)
        advice += pooler_advice(pool_mode, runtime.settings.database_pooler)
    if runtime.settings.redis_url:  # other counters are in the database, or in a file that this would create
        problems += redis_problems(runtime.admission.limiter, runtime.clock())
    advice += mail_server_advice(runtime.settings)
    advice += provider_advice(runtime.settings, runtime.provider_metadata)
    return problems, advice


def check_openapi_document(extension: Runtime | StandaloneContext) -> tuple[list[str], list[str]]:
    """Return the problems because of which the OpenAPI document and the API reference cannot be built, and advice.

    The advice names the operations that cannot be documented completely.
    """
    advice: list[str] = []
    try:
        document = extension.build_openapi_document(warn=advice.append)
        build_api_reference(document, str(extension.settings.issuer))
    except Exception as problem:  # the types of views and the function ``openapi`` are code of the app
        kind = "" if isinstance(problem, ValueError) else f"{type(problem).__name__}: "
        return [f"the OpenAPI document and the API reference cannot be built: {kind}{problem}"], advice
    return [], advice


def check_database(runtime: Runtime) -> Iterator[str]:
    """Check the schema and the keys of the database, and yield advice about its queued jobs. Nothing is created.

    :raises DatabaseMissing: if there is no SQLite database.
    :raises StoreUnavailable: if the database does not respond or is read-only, its schema is older or newer than this
        code needs, or its signing keys cannot be decrypted.
    """
    check_schema(runtime.store)
    check_not_read_only(runtime.store)
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
    problems = [
        *route_problems(app, context.settings, None, context.admission.user_limit),
        *redis_problems(context.admission.limiter, context.clock()),
    ]
    return problems, list(undecorated_routes(app, context.settings))


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
        if settings.has_default_issuer and is_loopback_host(urlsplit(provider.issuer).hostname):
            continue  # `valetkey serve` reaches it; other servers do if the issuer is set, which is advised
        try:
            find_endpoints(provider, provider_metadata)
        except (FetchError, BackendUnavailable) as problem:
            yield f"users cannot sign in with {provider.name} ({provider.issuer}) now: {problem}"


def outbox_advice(store: Store, now: float) -> Iterator[str]:
    """Yield a sentence of advice if background jobs are parked, or wait because no worker runs them."""
    parked = outbox.count_parked(store)
    if parked:
        yield f"parked background jobs: {parked}; see `valetkey outbox list`, then retry or drop them"
    overdue = outbox.count_overdue(store, now, _OVERDUE_S)
    if overdue and not is_worker_active(store, now):
        yield f"background jobs wait, because no worker runs: {overdue}; start `valetkey work` or set embedded_worker"
