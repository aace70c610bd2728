"""Views of the page on which users look through what can use their account without the password, and end it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.accounts.access_review import AccessReview, end_access, load_access_review
from valetkey.federation.links import ProviderState, list_providers
from valetkey.protocol.resource_owner import Owner
from valetkey.resource_owner import texts
from valetkey.resource_owner.consent_context import utc_datetime
from valetkey.runtime import Runtime
from valetkey.web import cookies, pages
from valetkey.web.context import current_address, current_runtime
from valetkey.web.cookies import set_notice
from valetkey.web.csrf import check_button_form
from valetkey.web.local_path import safe_local_path
from valetkey.web.resource_owners import current_full_path, current_owner, redirect_to_sign_in


def access_page() -> Response:
    owner = current_owner()
    if owner is None:
        return redirect_to_sign_in()
    return _render(owner, current_runtime())


def access_action() -> Response:
    """End the access of the ticked items, or keep everything, as the button says; then redirect to ``next``."""
    owner, runtime = current_owner(), current_runtime()
    if owner is None:
        return redirect_to_sign_in(url_for("valetkey_passwords.access"))
    check_button_form()
    decision = request.form.get("decision")
    if decision not in {"end", "keep"}:
        return _render(owner, runtime, texts.CHOOSE_ACCESS_DECISION)
    is_end = decision == "end"
    client_ids = frozenset(request.form.getlist("app") if is_end else ())
    token_ids = frozenset(request.form.getlist("token") if is_end else ())
    if is_end and not client_ids | token_ids:
        return _render(owner, runtime, texts.TICK_OR_KEEP)
    end_access(
        owner.sub, client_ids, token_ids, current_address(runtime.settings.trusted_proxies), runtime, runtime.clock()
    )
    set_notice("access-ended" if is_end else "access-unchanged")
    return redirect(safe_local_path(request.values.get("next")), 303)


def load_current_review(sub: str, runtime: Runtime) -> AccessReview:
    """Return what can use an account besides the session of the current request."""
    session = cookies.session_secret(runtime.settings)
    return load_access_review(sub, session.digest() if session else b"", runtime, runtime.clock())


def list_provider_states(sub: str, runtime: Runtime) -> list[tuple[ProviderState, datetime | None]]:
    """Return all providers in the order of the setting, each with the time of its connection with the account."""
    return [
        (state, utc_datetime(state.link.linked_at) if state.link else None) for state in list_providers(sub, runtime)
    ]


def _render(owner: Owner, runtime: Runtime, problem: str | None = None) -> Response:
    review = load_current_review(owner.sub, runtime)
    context: dict[str, Any] = {
        "apps": [
            {
                "client_id": app.client_id,
                "name": app.name,
                "scopes": app.scopes,
                "began": utc_datetime(app.first_granted_at),
                "last_used": utc_datetime(app.last_used_at) if app.last_used_at else None,
                "address": app.granted_from_address,
                "is_ticked": review.is_from_before_reset(app.first_granted_at),
            }
            for app in review.apps
        ],
        "tokens": [
            {
                "token_id": token.token_id,
                "name": token.name,
                "prefix": token.prefix,
                "made_by_app": token.grant_id is not None,
                "began": utc_datetime(token.created_at),
                "last_used": utc_datetime(token.last_used_at) if token.last_used_at else None,
                "is_ticked": review.is_from_before_reset(token.created_at),
            }
            for token in review.tokens
        ],
        "providers": [pair for pair in list_provider_states(owner.sub, runtime) if pair[0].link],
        "disconnect_next": current_full_path() if request.method == "GET" else url_for("valetkey_passwords.access"),
        "reset_at": utc_datetime(review.reset_at) if review.reset_at is not None else None,
        "other_sessions": review.other_sessions,
        "next_path": safe_local_path(request.values.get("next")),
    }
    return pages.render_page("access.html", 400 if problem else 200, problem=problem, **context)
