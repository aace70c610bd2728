"""Views for sign-in with providers: they read requests and render pages; the rules are in package ``federation``."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, abort, request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.activity.refusal_log import log_refusal
from valetkey.federation.authorization_request import begin_sign_in
from valetkey.federation.authorization_response import accept_request, complete_sign_in, read_response, response_pairs
from valetkey.federation.errors import AlreadyAnswered, ProviderRefused
from valetkey.federation.links import connect_provider, disconnect_provider, is_connected
from valetkey.federation.sign_in import AccountExists, sign_in_with_provider
from valetkey.protocol.uri import add_query
from valetkey.resource_owner import texts
from valetkey.resource_owner.mail_requests.views import current_login_context, may_mail_password_link
from valetkey.resource_owner.sign_in.views import find_pending_authorization, providers_context
from valetkey.settings.providers import SignInProvider
from valetkey.storage.provider_requests import ProviderRequest
from valetkey.web import cookies, pages
from valetkey.web.context import current_runtime
from valetkey.web.csrf import check_button_form
from valetkey.web.local_path import safe_local_path
from valetkey.web.request_log import current_request_info
from valetkey.web.resource_owners import current_owner, redirect_to_sign_in


def make_blueprint() -> Blueprint:
    """Return the blueprint for sign-in with providers, to be registered at the path of the sign-in page."""
    blueprint = Blueprint("valetkey_providers", __name__)
    pages.add_page(blueprint, "/<provider_id>", POST=("begin", begin_action))
    pages.add_page(
        blueprint, "/<provider_id>/callback", GET=("callback", callback_page), POST=("posted", posted_callback_action)
    )
    pages.add_page(blueprint, "/<provider_id>/connect", POST=("connect", connect_action))
    pages.add_page(blueprint, "/<provider_id>/disconnect", POST=("disconnect", disconnect_action))
    blueprint.before_request(pages.check_form)
    pages.set_up_blueprint(blueprint)
    return blueprint


def begin_action(provider_id: str) -> Response:
    """Redirect the browser to a provider."""
    check_button_form()
    return _redirect_to_provider(
        _require_provider(provider_id),
        safe_local_path(request.form.get("next")),
        takes_address=request.form.get("account") == "new",
    )


def connect_action(provider_id: str) -> Response:
    """Redirect the browser of a signed-in user to a provider, to connect the account with it."""
    provider, owner, next_path = _require_provider(provider_id), current_owner(), safe_local_path()
    if owner is None:
        return redirect_to_sign_in(next_path)
    check_button_form()
    return _redirect_to_provider(provider, next_path, connect_to=owner.sub)


def _redirect_to_provider(
    provider: SignInProvider, next_path: str, *, connect_to: str | None = None, takes_address: bool = False
) -> Response:
    """Begin a sign-in with a provider, and redirect the browser to it.

    :param next_path: local path to continue with.
    :param connect_to: ``sub`` of the account that is to be connected; ``None`` to sign in.
    :param takes_address: whether the user chose to take the address from an account that has not verified it.
    """
    runtime, pending = current_runtime(), find_pending_authorization(next_path)
    try:
        url = begin_sign_in(
            provider,
            next_path,
            pending.request if pending else None,
            current_login_context(runtime.settings),
            runtime,
            runtime.clock(),
            connect_to=connect_to,
            takes_address=takes_address,
            fresh=connect_to is None and current_owner() is not None,
        )
    except ProviderRefused as refusal:
        return _refusal_page(refusal, provider, next_path, is_connection=connect_to is not None)
    return redirect(url, 303)


def disconnect_action(provider_id: str) -> Response:
    """Disconnect the account of the signed-in user from a provider, if there is another way to sign in."""
    runtime, provider, owner = current_runtime(), _require_provider(provider_id), current_owner()
    session = cookies.session_secret(runtime.settings)
    if owner is None or session is None:
        return redirect_to_sign_in(safe_local_path())
    check_button_form()
    login_context = current_login_context(runtime.settings)
    if not disconnect_provider(provider, owner.sub, session.digest(), login_context, runtime, runtime.clock()):
        if may_mail_password_link(owner.email):
            text, link_url, link_text = texts.LAST_PROVIDER, url_for("valetkey_passwords.password"), texts.SET_PASSWORD
        else:
            text, link_url, link_text = texts.LAST_PROVIDER_NO_PASSWORDS, safe_local_path(), texts.BACK_TO_ACCOUNT
        sentence, link = text.format(provider=provider.name), {"link_url": link_url, "link_text": link_text}
        return pages.render_page("message.html", 400, title=texts.LAST_PROVIDER_TITLE, sentence=sentence, **link)
    cookies.set_notice("provider-disconnected")
    return redirect(safe_local_path(request.form.get("next")), 303)


def callback_page(provider_id: str) -> Response:
    """Handle the provider's response, and continue at the path at which the sign-in began."""
    runtime, provider = current_runtime(), _require_provider(provider_id)
    login_context, now = current_login_context(runtime.settings), runtime.clock()
    next_path, is_connection = "", False
    try:
        parameters = read_response(dict(request.args.lists()), provider)
        pending = accept_request(parameters, provider, login_context, runtime.store, now)
        next_path, is_connection = pending.next, pending.sub is not None
        verified = complete_sign_in(pending, parameters, provider, login_context, runtime, now)
        if pending.sub is not None:
            owner = current_owner()
            connect_provider(verified, provider, owner.sub if owner else "", login_context, runtime, now)
            cookies.set_notice("provider-connected")
            return redirect(next_path, 303)
        secret = sign_in_with_provider(verified, provider, login_context, runtime, now)
    except AlreadyAnswered as refusal:
        next_path, is_connection = refusal.request.next, refusal.request.sub is not None
        if _has_succeeded(refusal.request, provider):  # as after the first time
            return redirect(next_path, 303)
        return _refusal_page(refusal, provider, next_path, is_connection=is_connection)
    except ProviderRefused as refusal:
        return _refusal_page(refusal, provider, next_path, is_connection=is_connection)
    cookies.begin_session(secret)
    return redirect(next_path, 303)


def _has_succeeded(pending: ProviderRequest, provider: SignInProvider) -> bool:
    """Return whether the first response completed the sign-in.

    It did if the user is signed in or, if an account was to be connected, it is connected.
    """
    owner = current_owner()
    if owner is None or pending.sub is None:
        return owner is not None
    return owner.sub == pending.sub and is_connected(owner.sub, provider, current_runtime().store)


def posted_callback_action(provider_id: str) -> Response:
    """Redirect the browser from a posted response (OAuth 2.0 Form Post Response Mode) to the same response as a query.

    The browser sends no SameSite=Lax cookies with a form that another site posts, but does after a redirect to GET.
    """
    _require_provider(provider_id)
    query = urlencode(response_pairs(dict(request.form.lists())))
    callback_url = url_for("valetkey_providers.callback", provider_id=provider_id)
    return redirect(add_query(callback_url, query), 303)


def _refusal_page(
    refusal: ProviderRefused, provider: SignInProvider, next_path: str, *, is_connection: bool
) -> Response:
    """Log a refused sign-in, and return its page, which has the other ways to sign in.

    :param is_connection: whether an account was to be connected with the provider.
    """
    title = texts.PROVIDER_NOT_CONNECTED_TITLE if is_connection else texts.PROVIDER_REFUSED_TITLE
    info = current_request_info()
    log_refusal(refusal, info)
    return pages.render_page(
        "provider_refused.html",
        400,
        title=title.format(provider=provider.name),
        sentence=pages.as_sentence(refusal.description),
        must_sign_in_first=isinstance(refusal, AccountExists),
        may_take_address=isinstance(refusal, AccountExists) and refusal.may_take_address,
        provider=provider,
        reference=info.reference,
        sign_in_url=url_for("valetkey_resource_owner.sign_in", next=next_path or None),
        **providers_context(next_path),
    )


def _require_provider(provider_id: str) -> SignInProvider:
    """Return the provider with this id; abort the request with status 404 if there is none."""
    provider = next((item for item in current_runtime().settings.sign_in_with if item.provider_id == provider_id), None)
    if provider is None:
        abort(404)
    return provider
