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
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage.consents import Consent
from valetkey.tokens.key_ring import KeyRing

from .consent import claims_beyond_scope
from .request import AuthorizationRequest, CheckedTarget
from .shown_scopes import covers_request

RequiredPrompt = Literal["sign_in", "consent", "issue"]  # issue: no prompt is needed


def required_prompt(
    request: AuthorizationRequest,
    target: CheckedTarget,
    owner: Owner | None,
    consent: Consent | None,
    runtime: Runtime,
    now: float,
    *,
    can_step_up: bool,
) -> RequiredPrompt:
    """Return the prompt that an authorization request needs next; ``issue`` means that it needs none.

    If the client requires a new sign-in, a sign-in after ``request.begun_at`` satisfies it. If it asks for another kind
    of sign-in (``acr_values``), the owner is asked to sign in once (RFC 9470 §5); after that, the code is issued
    whatever the owner did, unless the ``acr`` is essential.

    :param owner: the owner who is signed in, or ``None`` if no one is.
    :param consent: the owner's remembered consent to the client, or ``None`` if there is none.
    :param can_step_up: whether another kind of sign-in is possible, and was not tried yet for this request.
    :raises OAuthError: if no prompt can help: an essential ``acr`` is not supported, another owner than the requested
        one signed in, or the time of the sign-in is required and unknown. The caller redirects this error to the
        client.
    """
    if owner is None:
        return "sign_in"
    _check_host_support(request, owner)
    has_consent = _is_consent_sufficient(request, target, consent, runtime.settings)
    if "none" in request.prompt and not has_consent:
        return "consent"  # without it, the client must not find out who is signed in, since when, or how
    is_built_in = runtime.has_built_in_accounts
    if _must_sign_in(request, owner, now) and not _has_new_session_at_host(
        request, owner, built_in_accounts=is_built_in
    ):
        return "sign_in"
    if not is_built_in and _must_choose_account_at_host(request, owner):
        return "sign_in"
    if not _is_requested_owner(request, target, owner, runtime.keys, now):
        return "sign_in"
    if can_step_up and "none" not in request.prompt and request.acr_values and owner.acr not in request.acr_values:
        return "sign_in"
    _check_acr(request, owner)
    return "issue" if has_consent and not {"consent", "select_account"} & set(request.prompt) else "consent"


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

    A required ``auth_time`` counts as ``max_age``.

    :raises OAuthError: if neither ``owner.auth_time`` nor ``owner.session_began_at`` is known, and the request has
        ``max_age``, or ``login`` or ``select_account`` in ``prompt``.
    """
    if _session_began_at(owner) is not None:
        return
    if request.max_age is not None or "login" in request.prompt:
        raise InvalidRequest(
            "the time of the sign-in is unknown: max_age, prompt=login and a required auth_time are not supported"
        )
    if "select_account" in request.prompt:
        raise AccountSelectionRequired("this server does not support choosing another account")


def _session_began_at(owner: Owner) -> float | None:
    return owner.auth_time if owner.session_began_at is None else owner.session_began_at


def _must_sign_in(request: AuthorizationRequest, owner: Owner, now: float) -> bool:
    """Return whether the client requires a more recent sign-in. One at an unknown time may be too old."""
    if "login" not in request.prompt and request.max_age is None:
        return False
    if owner.auth_time is None:
        return True
    if "login" in request.prompt and _is_before(owner.auth_time, request.begun_at):
        return True
    return request.max_age is not None and _is_before(owner.auth_time, min(request.begun_at, now - request.max_age))


def _must_choose_account_at_host(request: AuthorizationRequest, owner: Owner) -> bool:
    """Return whether the client wants the owner to choose an account, and the owner has not signed in since.

    The consent page for the host's accounts has no link to another account, as that for Valetkey's own accounts has.
    """
    began_at = _session_began_at(owner)
    return "select_account" in request.prompt and began_at is not None and _is_before(began_at, request.begun_at)


def _has_new_session_at_host(request: AuthorizationRequest, owner: Owner, *, built_in_accounts: bool) -> bool:
    """Return whether the host app has begun a session for this request, but does not report when the owner signed in.

    This satisfies ``prompt=login``, since the host's sign-in page was opened with ``fresh``. For Valetkey's own
    accounts it does not: a provider may have signed the owner in without a prompt.

    :raises LoginRequired: if the client requires the time of the sign-in; prompting again would never end.
    """
    began_at = owner.session_began_at
    if built_in_accounts or owner.auth_time is not None or began_at is None:
        return False
    if "none" in request.prompt or _is_before(began_at, request.begun_at):
        return False
    if request.max_age is not None:
        raise LoginRequired("the user has signed in, but the time of the sign-in is unknown")
    return True


def _is_before(signed_in_at: float, time: float) -> bool:
    """Return whether a sign-in was before a time, both in seconds since 1970.

    A time that is an integer was rounded by the host app: the sign-in may have been up to a second later.
    """
    return signed_in_at < time and (not isinstance(signed_in_at, int) or signed_in_at + 1 <= time)


def _is_requested_owner(
    request: AuthorizationRequest, target: CheckedTarget, owner: Owner, keys: KeyRing, now: float
) -> bool:
    """Return whether this owner is the one that the client expects, or the client expects no particular one.

    A client names an owner in ``id_token_hint`` or ``claims`` (OpenID Connect Core §3.1.2.1, §3.1.2.2).

    :raises LoginRequired: if another owner signed in for this request; prompting again would never end.
    """
    if not request.hinted_subs or subject_for_client(owner.sub, target.client, keys, now) in request.hinted_subs:
        return True
    began_at = _session_began_at(owner)
    if "none" not in request.prompt and (began_at is None or not _is_before(began_at, request.begun_at)):
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


def _is_consent_sufficient(
    request: AuthorizationRequest, target: CheckedTarget, consent: Consent | None, settings: Settings
) -> bool:
    """Return whether the owner consented to everything in the request before, so that no prompt is needed.

    The consent must be to the client's present identity, and to all requested scopes, as they are described now and for
    all requested resources.
    """
    if consent is None or target.must_prompt_each_time:
        return False
    if not covers_identity(consent.identity, target.client.identity):
        return False
    is_covered = covers_request(consent, request.scope, request.resources, target.client, settings)
    return is_covered and not claims_beyond_scope(request, settings)
