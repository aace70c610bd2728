"""What must happen before a request can be answered with a code: sign in, ask, or nothing."""

from __future__ import annotations

from typing import Literal

from valetkey.authorization_server.openid.subject import subject_for_client
from valetkey.protocol.claims import requested_values
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
from valetkey.runtime import Runtime
from valetkey.storage import consents

from .consent import claims_beyond_scope
from .request import AuthorizationRequest, CheckedTarget

RequiredPrompt = Literal["sign_in", "consent", "go"]


def required_prompt(
    request: AuthorizationRequest,
    target: CheckedTarget,
    owner: Owner | None,
    runtime: Runtime,
    now: float,
    consented_scope: str | None = None,
) -> RequiredPrompt:
    """The next step of a request; ``begun_at`` tells whether the person did what was asked since.

    :param consented: the scope that the owner allowed the client before, where it has been read.
    :raises OAuthError: for the client, where no step can help: an essential ``acr`` that cannot be reached here,
        another person than the one who is meant, or a host that cannot tell when a person signed in.
    """
    if owner is None:
        return "sign_in"
    _check_host_support(request, owner)
    if _must_sign_in(request, owner, now) or not _is_requested_owner(request, target, owner, runtime):
        return "sign_in"
    _check_acr(request, owner)
    if {"consent", "select_account"} & set(request.prompt) or not _is_consent_remembered(
        request, target, owner, runtime, consented_scope
    ):
        return "consent"
    return "go"


def check_prompt_none(request: AuthorizationRequest, required: RequiredPrompt) -> None:
    """With ``prompt=none`` nobody may be asked (OpenID Connect Core §3.1.2.6).

    :raises OAuthError: ``login_required`` or ``consent_required``.
    """
    if "none" not in request.prompt or required == "go":
        return
    refusals: dict[RequiredPrompt, OAuthError] = {
        "sign_in": LoginRequired("the person is not signed in"),
        "consent": ConsentRequired("the person has not agreed yet"),
    }
    raise refusals[required]


def _check_host_support(request: AuthorizationRequest, owner: Owner) -> None:
    """Refuse what a host's bare function cannot tell: when and how a person signed in."""
    if owner.auth_time is not None:
        return
    if request.max_age is not None or "login" in request.prompt:
        raise InvalidRequest("this server cannot tell when a person signed in: max_age and prompt=login are not served")
    if "select_account" in request.prompt:
        raise AccountSelectionRequired("this server cannot let the person choose another account")


def _must_sign_in(request: AuthorizationRequest, owner: Owner, now: float) -> bool:
    auth_time = owner.auth_time if owner.auth_time is not None else now
    if "login" in request.prompt and auth_time < request.begun_at:
        return True
    return request.max_age is not None and auth_time < min(request.begun_at, now - request.max_age)


def _is_requested_owner(request: AuthorizationRequest, target: CheckedTarget, owner: Owner, runtime: Runtime) -> bool:
    """Whether id_token_hint or claims name this person, or nobody (OpenID Connect Core §3.1.2.1, §3.1.2.2).

    :raises LoginRequired: where another person signed in for this request: asking again would go round in circles.
    """
    if not request.hinted_subs or subject_for_client(owner.sub, target.client, runtime) in request.hinted_subs:
        return True
    if owner.auth_time is None or owner.auth_time >= request.begun_at:
        raise LoginRequired("another person than the one who is meant is signed in")
    return False


def _check_acr(request: AuthorizationRequest, owner: Owner) -> None:
    wish = request.claims.get("id_token", {}).get("acr", {})
    if wish.get("essential") and requested_values(wish) and owner.acr not in requested_values(wish):
        raise UnmetAuthenticationRequirements("the acr that is asked for cannot be reached here")


def _is_consent_remembered(
    request: AuthorizationRequest, target: CheckedTarget, owner: Owner, runtime: Runtime, consented_scope: str | None
) -> bool:
    """Whether the owner allowed all of this before, to a client whose identity is assured (RFC 8252 §8.6)."""
    if target.client.policy.always_prompt_for_consent:
        return False
    if consented_scope is None:
        before = consents.find(runtime.store, owner.sub, request.client_id)
        if before is None:
            return False
        consented_scope = before.scope
    return parse_scope(consented_scope).issuperset(request.scope) and not claims_beyond_scope(request)
