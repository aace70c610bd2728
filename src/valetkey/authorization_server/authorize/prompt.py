"""The prompt that an authorization request needs before a code can be issued: sign-in, consent, or none."""

from __future__ import annotations

from typing import Literal

from valetkey.authorization_server.openid.subject import subject_for_client
from valetkey.protocol.claims import requested_values
from valetkey.protocol.client_identity import covers_identity
from valetkey.protocol.errors import (
    AccountSelectionRequired,
    ConsentRequired,
    InvalidRequest,
    LoginRequired,
    OAuthError,
    UnmetAuthenticationRequirements,
)
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import parse_scope
from valetkey.storage.consents import Consent
from valetkey.tokens.key_ring import KeyRing

from .consent import claims_beyond_scope
from .request import AuthorizationRequest, CheckedTarget

RequiredPrompt = Literal["sign_in", "consent", "issue"]  # issue: no prompt is needed


def required_prompt(
    request: AuthorizationRequest,
    target: CheckedTarget,
    owner: Owner | None,
    consent: Consent | None,
    key_ring: KeyRing,
    now: float,
) -> RequiredPrompt:
    """Return the prompt that an authorization request needs next; ``issue`` means that it needs none.

    If the client requires a new sign-in, a sign-in after ``request.begun_at`` satisfies it.

    :param owner: the owner who is signed in, or ``None`` if no one is.
    :param consent: the owner's remembered consent to the client, or ``None`` if there is none.
    :raises OAuthError: if no prompt can help: an essential ``acr`` is not supported, another owner than the requested
        one signed in, or the host app does not report when an owner signed in. The caller redirects this error to
        the client.
    """
    if owner is None:
        return "sign_in"
    _check_host_support(request, owner)
    if _must_sign_in(request, owner, now) or not _is_requested_owner(request, target, owner, key_ring, now):
        return "sign_in"
    _check_acr(request, owner)
    if {"consent", "select_account"} & set(request.prompt) or not _is_consent_sufficient(request, target, consent):
        return "consent"
    return "issue"


def check_prompt_none(request: AuthorizationRequest, required: RequiredPrompt) -> None:
    """Reject a request with ``prompt=none`` that needs a prompt (OpenID Connect Core §3.1.2.6).

    :param required: the prompt that the request needs, as ``required_prompt`` returned it.
    :raises LoginRequired: if the user has to sign in.
    :raises ConsentRequired: if the user has to consent.
    """
    if "none" not in request.prompt or required == "issue":
        return
    refusals: dict[RequiredPrompt, OAuthError] = {
        "sign_in": LoginRequired("the user is not signed in"),
        "consent": ConsentRequired("the user has not consented yet"),
    }
    raise refusals[required]


def _check_host_support(request: AuthorizationRequest, owner: Owner) -> None:
    """Reject ``max_age`` and some values of ``prompt`` if the host app does not report when the owner signed in.

    :raises OAuthError: if ``owner.auth_time`` is ``None``, and the request has ``max_age``, or ``login`` or
        ``select_account`` in ``prompt``.
    """
    if owner.auth_time is not None:
        return
    if request.max_age is not None or "login" in request.prompt:
        raise InvalidRequest("the time of the sign-in is unknown: max_age and prompt=login are not supported")
    if "select_account" in request.prompt:
        raise AccountSelectionRequired("this server does not support choosing another account")


def _must_sign_in(request: AuthorizationRequest, owner: Owner, now: float) -> bool:
    auth_time = owner.auth_time if owner.auth_time is not None else now
    if "login" in request.prompt and auth_time < request.begun_at:
        return True
    return request.max_age is not None and auth_time < min(request.begun_at, now - request.max_age)


def _is_requested_owner(
    request: AuthorizationRequest, target: CheckedTarget, owner: Owner, keys: KeyRing, now: float
) -> bool:
    """Return whether this owner is the one that the client expects, or the client expects no particular one.

    A client names an owner in ``id_token_hint`` or ``claims`` (OpenID Connect Core §3.1.2.1, §3.1.2.2).

    :raises LoginRequired: if another owner signed in for this request; prompting again would never end.
    """
    if not request.hinted_subs or subject_for_client(owner.sub, target.client, keys, now) in request.hinted_subs:
        return True
    if owner.auth_time is None or owner.auth_time >= request.begun_at:
        raise LoginRequired("another user than the requested one is signed in")
    return False


def _check_acr(request: AuthorizationRequest, owner: Owner) -> None:
    acr_request = request.claims.get("id_token", {}).get("acr", {})
    if (
        acr_request.get("essential")
        and requested_values(acr_request)
        and owner.acr not in requested_values(acr_request)
    ):
        raise UnmetAuthenticationRequirements("the requested acr is not supported")


def _is_consent_sufficient(request: AuthorizationRequest, target: CheckedTarget, consent: Consent | None) -> bool:
    """Return whether the owner consented to everything in the request before, so that no prompt is needed.

    The consent must be to the client's present identity, and to all requested scopes.
    """
    if consent is None or target.must_prompt_each_time:
        return False
    if not covers_identity(consent.identity, target.client.identity):
        return False
    return parse_scope(consent.scope).issuperset(request.scope) and not claims_beyond_scope(request)
