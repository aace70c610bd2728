"""The response to a consent form that was submitted before: the same redirect again, or a page that says so."""

from __future__ import annotations

from flask import url_for
from werkzeug.wrappers import Response

from valetkey.authorization_server.authorize.consent_record import find_consent
from valetkey.authorization_server.authorize.repeated_decision import find_response
from valetkey.authorization_server.authorize.request import PendingAuthorization
from valetkey.protocol.resource_owner import Owner
from valetkey.web import pages
from valetkey.web.context import current_runtime
from valetkey.web.pages import send_authorization_response


def answer_again(pending: PendingAuthorization, decision: str | None, owner: Owner | None) -> Response:
    """Return the redirect to the client that the decision got before; if it is too late for it, a page.

    :param decision: what was submitted; ``None`` if the consent page was loaded again.
    """
    runtime = current_runtime()
    response = find_response(pending, decision, owner, runtime.store, runtime.clock())
    if response is not None:
        return send_authorization_response(response)
    is_allowed = find_consent(owner, pending.request.client_id, runtime.store) is not None
    return decided_page(pending.target.client.name, is_allowed=is_allowed, continue_in="the app")


def decided_page(client_name: str, *, is_allowed: bool, continue_in: str) -> Response:
    """Return the page for a request that was decided before.

    :param is_allowed: whether the client has access to the owner's account.
    :param continue_in: where the user continues: ``the app`` or ``your device``.
    """
    if not is_allowed:
        return pages.render_page(
            "message.html",
            title="You already answered this request",
            sentence=f"{client_name} has no access to your account. To try again, start again from {continue_in}.",
            link_url=None,
        )
    account_path = current_runtime().settings.account_path
    return pages.render_page(
        "message.html",
        title="You already allowed this request",
        sentence=f"{client_name} has access to your account. Continue in {continue_in}. "
        "You can remove the access on your account page.",
        link_url=url_for("valetkey_resource_owner.account") if account_path is not None else None,
        link_text="Your account",
    )
