"""The authorization server's views: HTTP in, HTTP out, nothing decided here."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from valetkey.activity.refusals import log_refusal
from valetkey.protocol.errors import InvalidRequest, OAuthError, TooManyRequests
from valetkey.protocol.parameters import decode
from valetkey.protocol.secret import random_id
from valetkey.web import cookies, pages
from valetkey.web.machine import machine_view
from valetkey.web.owners import current_owner
from valetkey.web.respond import respond
from valetkey.web.state import current_address, current_runtime

from .authorization_endpoint import check_request, check_target
from .consent import allow_remembered
from .endpoints import ENDPOINTS
from .next_step import check_silent, next_step
from .sealed_hint import sealed_hints
from .waiting import wait

_LONGEST_REQUEST = 8000
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


def authorize() -> Response:
    """The authorization endpoint (RFC 6749 §3.1)."""
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
