"""The personal access tokens' views. A link may fill the form in; only the form, sent, makes a token."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from valetkey.authorization_server.personal_tokens import service as tokens
from valetkey.authorization_server.personal_tokens.service import FRESH, Made, Wish
from valetkey.protocol.errors import OAuthError
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.secret import random_id
from valetkey.resource_owner.consent_context import date_of, kind_of
from valetkey.resource_owner.forms import PersonalTokenForm
from valetkey.runtime import Runtime
from valetkey.storage import personal_tokens as stored
from valetkey.storage.personal_tokens import PersonalToken
from valetkey.web import pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.cookies import leave_notice
from valetkey.web.csrf import check_csrf
from valetkey.web.resource_owners import current_owner, to_sign_in

from . import lifetime


def make_blueprint(tokens_path: str) -> Blueprint:
    """The pages at their paths; the templates are the resource owner's."""
    blueprint = Blueprint("valetkey_tokens", __name__)
    pages.add_page(blueprint, tokens_path, GET=("every", list_page))
    pages.add_page(blueprint, f"{tokens_path}/new", GET=("new", new_page), POST=("make", make))
    pages.add_page(blueprint, f"{tokens_path}/revoke", POST=("revoke", revoke))
    blueprint.before_request(pages.check_form)
    pages.set_up(blueprint)
    return blueprint


def list_page() -> Response:
    owner = current_owner()
    if owner is None:
        return to_sign_in()
    runtime = current_runtime()
    now = runtime.clock()
    found = [_shown(token, runtime, now) for token in stored.of_owner(runtime.store, owner.sub)]
    return pages.page("tokens.html", tokens=sorted(found, key=lambda one: bool(one["state"] != "active")))


def new_page() -> Response:
    """The form, filled in with what the link says: ``name``, ``scope`` and ``expires_in`` in days."""
    runtime = current_runtime()
    owner, now = current_owner(), runtime.clock()
    if owner is None or not _is_fresh(owner, now):
        return to_sign_in(fresh=owner is not None)
    most = runtime.settings.personal_access_token_lifetime
    choice, day = lifetime.read_link(request.args.get("expires_in", ""), most, now)
    form = _form(name=request.args.get("name", "")[:100], expires_in=choice, expires_on=day, token_id=random_id())
    return _page(form, _read_scope(request.args.getlist("scope")))


def make() -> Response:
    """The token, shown this once; the same form sent again makes no other."""
    runtime = current_runtime()
    owner, now = current_owner(), runtime.clock()
    form, scope = _form(request.form), frozenset(request.form.getlist("scope"))
    if owner is None or not _is_fresh(owner, now):
        return to_sign_in(_link(form, scope), fresh=owner is not None)
    if not form.validate():
        again = "The form was not sent as this page has it. Fill it in again." if form.token_id.errors else None
        return _page(form, scope, again, status=400)
    try:
        made = tokens.make_personal_token(
            _wish(form, scope, runtime, now), owner, runtime, now, current_address(runtime)
        )
    except OAuthError as refusal:
        return _page(form, scope, refusal.description, status=400)
    return _made_page(made, runtime, now)


def revoke() -> Response:
    check_csrf(request.form.get("csrf_token", ""))
    owner = current_owner()
    if owner is None:
        return to_sign_in(url_for("valetkey_tokens.every"))
    runtime = current_runtime()
    token = tokens.find_own(request.args.get("token_id", ""), owner.sub, runtime)
    if token is not None:
        tokens.revoke_personal_token(token, runtime, runtime.clock(), current_address(runtime))
        leave_notice("token-revoked")
    return redirect(url_for("valetkey_tokens.every"), 303)


def _is_fresh(owner: Owner, now: float) -> bool:
    """Whoever finds an open session makes no token of it; asked where the accounts can say when one signed in."""
    return owner.auth_time is None or now - owner.auth_time <= FRESH


def _form(sent: Any = None, **filled: Any) -> PersonalTokenForm:
    most = current_runtime().settings.personal_access_token_lifetime
    form = PersonalTokenForm(sent, **filled)
    form.expires_in.choices = lifetime.choices(most)
    return form


def _wish(form: PersonalTokenForm, scope: frozenset[str], runtime: Runtime, now: float) -> Wish:
    most = runtime.settings.personal_access_token_lifetime
    end = lifetime.end_of(form.expires_in.data, form.expires_on.data, most, now)
    return Wish(form.name.data, scope, end, token_id=form.token_id.data)


def _read_scope(sent: list[str]) -> frozenset[str]:
    try:
        return parse_scope(" ".join(sent).strip())
    except OAuthError:
        return frozenset()  # a link only fills in


def _link(form: PersonalTokenForm, scope: frozenset[str]) -> str:
    """The form's page, filled in again: for the way back from signing in."""
    lives = lifetime.days_of(form.expires_in.data or "", form.expires_on.data, current_runtime().clock())
    filled = {"name": form.name.data or "", "scope": " ".join(sorted(scope)), "expires_in": lives}
    return f"{url_for('valetkey_tokens.new')}?{urlencode({name: told for name, told in filled.items() if told})}"


def _page(
    form: PersonalTokenForm, ticked: frozenset[str], problem: str | None = None, *, status: int = 200
) -> Response:
    runtime = current_runtime()
    now, most = runtime.clock(), runtime.settings.personal_access_token_lifetime
    words = runtime.settings.scopes
    scopes = [
        {"name": name, "words": words.get(name, name), "kind": kind_of(name), "ticked": name in ticked}
        for name in sorted(tokens.possible_scopes(runtime))
    ]
    days = {"first": lifetime.last_day(now), "last": lifetime.last_day(now + most)}
    return pages.page("token_new.html", status, form=form, scopes=scopes, days=days, problem=problem)


def _made_page(made: Made, runtime: Runtime, now: float) -> Response:
    return pages.page("token_made.html", token=_shown(made.token, runtime, now), value=made.secret.reveal())


def _shown(token: PersonalToken, runtime: Runtime, now: float) -> dict[str, Any]:
    words = runtime.settings.scopes
    return {
        "token_id": token.token_id,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": [words.get(name, name) for name in sorted(parse_scope(token.scope))],
        "created": date_of(token.created_at),
        "expires": date_of(token.expires_at),
        "last_used": date_of(token.last_used_at) if token.last_used_at else None,
        "made_by_app": token.grant_id is not None,
        "state": tokens.state(token, now),
    }
