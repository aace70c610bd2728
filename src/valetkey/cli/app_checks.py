"""Checks of ``valetkey check`` that need only the app: its settings and routes."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Flask

from valetkey.rate_limiting.limit import parse_limit
from valetkey.resource_server.routes import find_reaching_paths, find_undecorated_paths, iter_routes
from valetkey.settings import Settings
from valetkey.settings.environment import Environment
from valetkey.web.context import EXTENSION
from valetkey.web.flask_bypass import BYPASS_EXTENSION, FlaskBypass

_SMALL_BURST = 10  # calls; a default burst below this is named


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


def secret_key_advice(app: Flask) -> Iterator[str]:
    """Yield a sentence of advice if an app that signs users in itself has no secret key for its sessions.

    On loopback, `valetkey serve` sets the variable SECRET_KEY for such an app; other servers do not.
    """
    if not app.secret_key:
        yield (
            "the app has its own users and no secret key, so that it cannot use flask.session: set app.secret_key to a "
            "random text that stays the same"
        )


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
                f"the limit {text!r} of {place} admits {burst} calls at once, a tenth of it: if more may come, "
                f"write '{text} burst {_SMALL_BURST}'"
            )


def flask_notes(app: Flask) -> Iterator[str]:
    """Yield a sentence for each reason why Flask handles the machine endpoints, which takes longer."""
    bypass: FlaskBypass | None = app.extensions.get(BYPASS_EXTENSION)
    if bypass is not None and app.extensions[EXTENSION].settings.endpoints_bypass_flask:
        for reason in bypass.list_reasons():
            yield f"the token endpoint and similar ones pass through Flask, which is slower, because of {reason}"


def variables_of_other_extension(environment: Environment) -> Iterator[str]:
    """Yield a sentence of advice for each environment variable that only the other extension reads."""
    for variable in environment.other:
        yield f"{variable} has no effect: this app does not have this setting"


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


def unused_scopes(app: Flask, settings: Settings) -> Iterator[str]:
    """Yield a sentence of advice for each scope in the setting ``scopes`` that no route requires.

    Scopes that Valetkey uses are left out: those for claims about the user, such as ``profile``, and that of the API
    for personal access tokens.
    """
    used = {scope for route in iter_routes(app) for scope in route.scopes}
    for name in sorted(settings.scopes.keys() - used - {settings.personal_access_token_api_scope}):
        if not settings.claims_of(frozenset({name})):
            yield f"no route uses the scope {name!r}"
