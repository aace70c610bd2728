"""Views of the pages for personal access tokens.

A link can fill in the form for a new token; only submitting the form creates a token.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.authorization_server.personal_tokens import service as tokens
from valetkey.authorization_server.personal_tokens.service import (
    MAX_AUTH_AGE_S,
    CreatedToken,
    TokenAlreadyCreated,
    TokenSpec,
)
from valetkey.protocol.errors import InvalidRequest, OAuthError
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.secret import random_id
from valetkey.protocol.uri import add_query
from valetkey.resource_owner import texts
from valetkey.resource_owner.consent_context import scope_kind, utc_datetime
from valetkey.resource_owner.forms import PersonalTokenForm, refuse_value
from valetkey.settings import Settings
from valetkey.storage import personal_access_tokens as stored
from valetkey.storage.personal_access_tokens import PersonalToken
from valetkey.web import pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.cookies import set_notice
from valetkey.web.csrf import check_button_form
from valetkey.web.page_headers import isolate_page
from valetkey.web.resource_owners import current_owner, redirect_to_sign_in

from . import lifetime


def make_blueprint(tokens_path: str) -> Blueprint:
    """Return the blueprint with the pages for personal access tokens; their templates are in ``resource_owner``."""
    blueprint = Blueprint("valetkey_tokens", __name__)
    pages.add_page(blueprint, tokens_path, GET=("every", list_page))
    pages.add_page(blueprint, f"{tokens_path}/new", GET=("new", new_page), POST=("make", create_action))
    pages.add_page(blueprint, f"{tokens_path}/revoke", POST=("revoke", revoke_action))
    blueprint.before_request(pages.check_form)
    pages.set_up_blueprint(blueprint)
    blueprint.after_request(isolate_page)
    return blueprint


def list_page() -> Response:
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in()
    runtime = current_runtime()
    now = runtime.clock()
    contexts = [
        _token_context(token, runtime.settings, now) for token in stored.list_by_owner(runtime.store, owner.sub)
    ]
    active_first = sorted(contexts, key=lambda context: bool(context["state"] != "active"))
    return pages.render_page("tokens.html", tokens=active_first)


def new_page() -> Response:
    """Show the form for a new token, filled in with the query parameters of the link.

    These are ``name``, ``scope`` and ``expires_in`` in days. A user who has not signed in within the last hour is
    redirected to the sign-in page.
    """
    runtime = current_runtime()
    owner, now = current_owner(), runtime.clock()
    if owner is None or not _signed_in_recently(owner, now):
        return redirect_to_sign_in(fresh=owner is not None)
    max_lifetime_s = runtime.settings.personal_access_token_lifetime
    choice, day = lifetime.parse_expires_in(request.args.get("expires_in", ""), max_lifetime_s, now)
    form = _make_form(
        name=request.args.get("name", "")[:100], expires_in=choice, expires_on=day, submission=random_id()
    )
    return _form_page(form, _parse_scope_values(request.args.getlist("scope")))


def create_action() -> Response:
    """Create a personal access token, and show it; it is not shown again.

    Submitting the same form again creates no second token.
    """
    runtime = current_runtime()
    owner, now = current_owner(), runtime.clock()
    form, scope = _make_form(request.form), frozenset(request.form.getlist("scope"))
    if owner is None or not _signed_in_recently(owner, now):
        return redirect_to_sign_in(_prefilled_form_url(form, scope), fresh=owner is not None)
    if not form.validate({"expires_on": [_check_date]}):
        problem = texts.FORM_INCOMPLETE if form.submission.errors else None
        return _form_page(form, scope, problem, status=400)
    try:
        created = tokens.create_personal_token(
            _token_spec(form, scope, runtime.settings, now),
            owner,
            runtime,
            now,
            current_address(runtime.settings.trusted_proxies),
        )
    except TokenAlreadyCreated:
        return _already_created_page()
    except OAuthError as refusal:
        return _form_page(form, scope, refusal.description, status=400)
    return _created_page(created, runtime.settings, now)


def revoke_action() -> Response:
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in(url_for("valetkey_tokens.every"))
    check_button_form()
    runtime = current_runtime()
    token = tokens.find_owned_token(request.args.get("token_id", ""), owner.sub, runtime.store)
    if token is not None:
        tokens.revoke_personal_token(
            token, runtime.store, runtime.clock(), current_address(runtime.settings.trusted_proxies)
        )
        set_notice("token-revoked")
    return redirect(url_for("valetkey_tokens.every"), 303)


def _signed_in_recently(owner: Owner, now: float) -> bool:
    """Return whether the owner signed in within the last hour; True if the time of the sign-in is unknown.

    A recent sign-in is required so that an unattended session cannot be used to create a token. If a provider does not
    say when it authenticated the owner, the time at which the session began counts.
    """
    signed_in_at = owner.session_began_at if owner.auth_time is None else owner.auth_time
    return signed_in_at is None or now - signed_in_at <= MAX_AUTH_AGE_S


def _make_form(form_data: Any = None, **values: Any) -> PersonalTokenForm:
    """Return the form for a new personal access token, with its choices of lifetimes.

    :param form_data: the submitted form; None for a new form.
    :param values: initial values of the fields of a new form.
    """
    max_lifetime_s = current_runtime().settings.personal_access_token_lifetime
    form = PersonalTokenForm(form_data, **values)
    form.expires_in.choices = lifetime.choices(max_lifetime_s)
    return form


def _check_date(form: PersonalTokenForm, field: Any) -> None:
    """Check the date on which the token expires; ignore what the field contains if the user chose a number of days."""
    field.errors = []  # of a text that is no date
    if form.expires_in.data != lifetime.ON_DATE:
        return
    runtime = current_runtime()
    max_lifetime_s = runtime.settings.personal_access_token_lifetime
    try:
        lifetime.compute_expires_at(lifetime.ON_DATE, field.data, max_lifetime_s, runtime.clock())
    except InvalidRequest as refusal:
        refuse_value(refusal.description)


def _token_spec(form: PersonalTokenForm, scope: frozenset[str], settings: Settings, now: float) -> TokenSpec:
    """Return name, scopes and expiry of the token that a valid form describes.

    :raises InvalidRequest: if the chosen date is missing, in the past or too late.
    """
    max_lifetime_s = settings.personal_access_token_lifetime
    expires_at = lifetime.compute_expires_at(form.expires_in.data, form.expires_on.data, max_lifetime_s, now)
    return TokenSpec(form.name.data, scope, expires_at, submission=form.submission.data)


def _parse_scope_values(values: list[str]) -> frozenset[str]:
    """Return the scopes in the ``scope`` parameters of a link that fills in the form; empty if they are invalid."""
    try:
        return parse_scope(" ".join(values).strip())
    except OAuthError:
        return frozenset()


def _prefilled_form_url(form: PersonalTokenForm, scope: frozenset[str]) -> str:
    """Return the URL of the form for a new token with its current values filled in, to return to after the sign-in."""
    now = current_runtime().clock()
    expires_in = lifetime.format_expires_in(form.expires_in.data or "", form.expires_on.data, now)
    parameters = {"name": form.name.data or "", "scope": " ".join(sorted(scope)), "expires_in": expires_in}
    query = urlencode({name: value for name, value in parameters.items() if value})
    return add_query(url_for("valetkey_tokens.new"), query)


def _form_page(
    form: PersonalTokenForm, selected_scopes: frozenset[str], problem: str | None = None, *, status: int = 200
) -> Response:
    runtime = current_runtime()
    now, max_lifetime_s = runtime.clock(), runtime.settings.personal_access_token_lifetime
    words = runtime.settings.scopes
    scopes = [
        {"name": name, "words": words.get(name, name), "kind": scope_kind(name), "ticked": name in selected_scopes}
        for name in sorted(tokens.allowed_scopes(runtime))
    ]
    days = {"first": lifetime.utc_date(now), "last": lifetime.utc_date(now + max_lifetime_s)}
    return pages.render_page("token_new.html", status, form=form, scopes=scopes, days=days, problem=problem)


def _created_page(created: CreatedToken, settings: Settings, now: float) -> Response:
    return pages.render_page(
        "token_made.html", token=_token_context(created.token, settings, now), value=created.secret.reveal()
    )


def _already_created_page() -> Response:
    return pages.render_page(
        "message.html",
        400,
        title=texts.TOKEN_EXISTS_TITLE,
        sentence=texts.TOKEN_ALREADY_SHOWN,
        link_url=url_for("valetkey_tokens.every"),
        link_text=texts.TOKENS_LINK,
    )


def _token_context(token: PersonalToken, settings: Settings, now: float) -> dict[str, Any]:
    """Return the template variables that describe a token, without its secret."""
    words = settings.scopes
    return {
        "token_id": token.token_id,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": [words.get(name, name) for name in sorted(parse_scope(token.scope))],
        "created": utc_datetime(token.created_at),
        "expires": utc_datetime(token.expires_at),
        "last_used": utc_datetime(token.last_used_at) if token.last_used_at else None,
        "made_by_app": token.grant_id is not None,
        "state": tokens.token_state(token, now),
    }
