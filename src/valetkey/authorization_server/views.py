"""The authorization server's views: HTTP in, HTTP out, nothing decided here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, redirect, request, url_for
from werkzeug.urls import iri_to_uri
from werkzeug.wrappers import Response

from valetkey.activity.refusals import log_refusal
from valetkey.protocol.errors import InvalidRequest, OAuthError, TooManyRequests
from valetkey.protocol.parameters import decode
from valetkey.protocol.secret import random_id
from valetkey.runtime import Runtime
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.endpoint_adapters import machine_view
from valetkey.web.pages import respond
from valetkey.web.resource_owners import OwnAccounts, current_owner
from valetkey.web.wsgi import Environ

from .authorize.consent import allow_remembered
from .authorize.endpoint import check_request, check_target
from .authorize.fast_path import answer_unasked
from .authorize.interaction import wait
from .authorize.prompt import check_silent, next_step
from .endpoints import ENDPOINTS
from .openid.encrypted_hint import sealed_hints

_LONGEST_REQUEST = 8000
_UNAVAILABLE = "valetkey.unavailable"  # in the WSGI environment: why the store could not be read
_MISTAKE = "This is a mistake in the app, which got nothing of yours. Tell its developer, with the reference below."


def make_blueprints() -> tuple[Blueprint, Blueprint]:
    """The machine endpoints, and the authorization endpoint that people come through."""
    machines = Blueprint("valetkey_machines", __name__)
    for endpoint in ENDPOINTS:
        methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]  # the dispatch refuses, as JSON
        machines.add_url_rule(
            endpoint.path, view_func=machine_view(endpoint), methods=methods, provide_automatic_options=False
        )
    people = Blueprint("valetkey_authorization_server", __name__)
    people.add_url_rule("/authorize", view_func=authorize, methods=["GET"])
    people.add_url_rule("/authorize", view_func=authorize_by_post, methods=["POST"])
    pages.refuse_other_methods(people, "/authorize", "GET", "POST")
    pages.set_up(people)
    people.register_error_handler(OAuthError, refuse_to_app)
    return machines, people


def refuse_to_app(refusal: OAuthError) -> Response:
    """A request that the app got wrong, and that cannot be answered to it (RFC 6749 §4.1.2.1)."""
    mistaken = not isinstance(refusal, TooManyRequests)
    return pages.refused_page(refusal, advice=_MISTAKE if mistaken else "")


def authorize_before_flask(app: Flask, runtime: Runtime, owners: OwnAccounts, path: str) -> None:
    """Answer at the app's border whoever need not be asked: Flask alone took 250 of 600 us.

    All others go on to ``authorize``, which begins anew; so does an app that trusts some hosts only.
    """
    inner = app.wsgi_app

    def bordered(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_asked = environ["PATH_INFO"] == path and environ["REQUEST_METHOD"] == "GET"
        if is_asked and runtime.is_ready and not app.config.get("TRUSTED_HOSTS"):
            location = _location_unasked(environ, runtime, owners)
            if location is not None:
                environ[pages.IS_PAGE] = True
                told = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", "0")]
                start_response("303 SEE OTHER", [*told, ("Location", location)])
                return []
        return inner(environ, start_response)

    app.wsgi_app = bordered  # type: ignore[method-assign]  # as Flask's documentation does


def _location_unasked(environ: Environ, runtime: Runtime, owners: OwnAccounts) -> str | None:
    query, secret = environ.get("QUERY_STRING", ""), cookies.session_in(environ, runtime)
    if secret is None or len(query) > _LONGEST_REQUEST:
        return None
    try:
        response = answer_unasked(query, secret, owners.signed_in, runtime, runtime.clock())
        return None if response is None else replace(response, redirect_uri=_iri(response.redirect_uri)).location()
    except StoreUnavailable as cause:
        environ[_UNAVAILABLE] = cause
    except Exception:  # it comes again in Flask, which has a page and a log for it
        return None
    return None


@lru_cache(maxsize=1024)
def _iri(redirect_uri: str) -> str:
    """As Flask writes a Location; never a refusal, for the code is made by then."""
    try:
        return iri_to_uri(redirect_uri)
    except UnicodeError:  # registered before such hosts were refused
        return redirect_uri


def authorize() -> Response:
    """The authorization endpoint (RFC 6749 §3.1)."""
    if (cause := request.environ.get(_UNAVAILABLE)) is not None:  # nobody waits twice for a store that is down
        raise cause
    runtime = current_runtime()
    now = runtime.clock()
    if len(request.query_string) > _LONGEST_REQUEST:
        raise InvalidRequest("The app's request is too long.")
    pairs = decode(request.query_string.decode("latin-1"))
    target = check_target(pairs, runtime, now)
    try:
        asked = check_request(pairs, target, runtime, now)
        owner = current_owner()
        step = next_step(asked, target, owner, runtime, now)
        check_silent(asked, step)
    except OAuthError as refusal:
        log_refusal(refusal, random_id(12), "authorize")
        return respond(target.refusal(refusal))
    if owner is not None and step == "go":
        response = allow_remembered(asked, target, owner, runtime, now)
        if response is not None:
            return respond(response)
    waiting = wait(asked, cookies.browser(runtime).digest(), owner, current_address(runtime), runtime, now)
    return redirect(url_for("valetkey_resource_owner.consent", interaction_id=waiting.reveal()), 303)


def authorize_by_post() -> Response:
    """The same by POST: sent on to GET, for a form from the app's site brings no SameSite=Lax cookie."""
    if request.mimetype != "application/x-www-form-urlencoded":
        raise InvalidRequest("The app sent its request in a form that is not served here.")
    body = request.stream.read(_LONGEST_REQUEST + 1)
    if len(body) > _LONGEST_REQUEST or not body.isascii():
        raise InvalidRequest("The app's request is too long, or not form-encoded.")
    runtime = current_runtime()
    pairs = sealed_hints(decode(body.decode("ascii")), runtime, runtime.clock())
    # Encoded anew: a line break in the body would be one in the Location header.
    return redirect(f"{request.script_root}{request.path}?{urlencode(pairs)}", 303)
