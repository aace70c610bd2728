"""The resource owner's decision about an authorization request (RFC 6749 §4.1.2).

Load the stored request, then issue an authorization code, or return an error to the client.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.grant_lifecycle import new_grant
from valetkey.caches.authenticated_session import AuthenticatedSession
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.claims import STANDARD_CLAIMS, claims_of_scope
from valetkey.protocol.errors import AccessDenied, InvalidRequest, OAuthError
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import format_scope
from valetkey.protocol.secret import AUTHORIZATION_CODE, INTERACTION, Secret, generate_secret, is_well_formed
from valetkey.protocol.uri import is_loopback_host
from valetkey.runtime import Runtime
from valetkey.storage import grants, interactions
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import AuthorizationCode, Grant

from .consent_record import ConsentDecision, consent_statements, describe_scopes
from .endpoint import recheck_target
from .request import AuthorizationRequest, CheckedTarget

INDIVIDUAL_CLAIMS = "claims"  # the consent page's checkbox for individually requested claims


@dataclass(frozen=True, slots=True)
class PendingAuthorization:
    """A stored authorization request that waits for the resource owner's decision, in the browser that sent it."""

    digest: bytes  # of the interaction id
    request: AuthorizationRequest
    target: CheckedTarget


@dataclass(frozen=True, slots=True)
class ConsentPrompt:
    """What the consent page shows: the client, the requested scopes, and the host that it redirects to."""

    target: CheckedTarget
    scopes: tuple[tuple[str, str, bool], ...]  # name, description, whether it was granted before
    redirect_host: str
    redirects_to_loopback: bool  # to a program on the user's device, not to a page of this server
    only_new_scopes: bool  # scopes that were granted before need no new consent


def load_pending(interaction_id: str, browser: bytes, runtime: Runtime, now: float) -> PendingAuthorization:
    """Return the authorization request that was stored under an id and waits for the resource owner's decision.

    :param interaction_id: the id that ``save_interaction`` returned, as the URL of the consent page contains it.
    :param browser: the digest of the cookie that identifies the browser.
    :raises InvalidRequest: if there is no such request, or the request was decided, has expired, was sent by another
        browser, was stored by another version of Valetkey, or is no longer valid because the client was changed or
        removed. The error message is for the user.
    """
    well_formed = is_well_formed(interaction_id, INTERACTION)
    row = interactions.find(runtime.store, Secret(interaction_id).digest()) if well_formed else None
    if row is None or not hmac.compare_digest(row.browser, browser):
        raise InvalidRequest("This request was not begun in this browser. Go back to the app and start again.")
    if row.decided_at is not None or row.expires_at <= now:
        raise InvalidRequest("This request was answered already, or has waited too long. Start again from the app.")
    try:
        request = AuthorizationRequest.from_json(row.request)
    except (KeyError, TypeError) as cause:
        raise InvalidRequest("The site was renewed meanwhile. Go back to the app and start again.") from cause
    return PendingAuthorization(row.digest, request, recheck_target(request, runtime, now))


def build_consent_prompt(pending: PendingAuthorization, owner: Owner, runtime: Runtime) -> ConsentPrompt:
    """Return what the consent page shows for a request to this owner."""
    parts = urlsplit(pending.request.redirect_uri)
    scopes = describe_scopes(pending.request.scope, pending.request.client_id, owner, runtime)
    individual_claims = claims_beyond_scope(pending.request)
    if individual_claims:
        claim_names = ", ".join(name.replace("_", " ") for name in individual_claims)
        scopes.append((INDIVIDUAL_CLAIMS, f"See your {claim_names}", False))
    return ConsentPrompt(
        pending.target,
        tuple(scopes),
        parts.netloc or f"{parts.scheme}: (an app on your device)",
        is_loopback_host(parts.hostname) and parts.netloc != urlsplit(runtime.settings.issuer).netloc,
        not (pending.target.client.policy.always_prompt_for_consent or "consent" in pending.request.prompt),
    )


def allow(
    pending: PendingAuthorization,
    scope: frozenset[str],
    owner: Owner,
    address: str | None,
    runtime: Runtime,
    now: float,
) -> AuthorizationResponse:
    """Record the owner's consent, and return the response that redirects an authorization code to the client.

    :param scope: the checkboxes that the owner left ticked on the consent page: names of scopes, and
        ``INDIVIDUAL_CLAIMS`` for the claims that the client requests individually.
    :param address: the owner's network address, for the consent and the audit log.
    :raises InvalidRequest: if the request was decided already.
    """
    granted_claims = {
        place: _select_ticked_claims(requested_claims, scope)
        for place, requested_claims in pending.request.claims.items()
    }
    granted = replace(pending.request, scope=tuple(sorted(scope & set(pending.request.scope))), claims=granted_claims)
    secret, grant, code = _make_grant_and_code(granted, owner, runtime, now)
    decision = ConsentDecision(pending.target.client, pending.request.scope, granted.scope, owner, address)
    rows = (grants.add(grant), grants.add_code(code), *consent_statements(decision, runtime, now))
    if not runtime.write(Transaction(interactions.decide(pending.digest, now), rows)):
        raise InvalidRequest("This request was answered already. Start again from the app.")
    runtime.recent_codes.add(code.digest, (code, grant))
    return pending.target.response({"code": secret.reveal()})


def issue_remembered(
    request: AuthorizationRequest,
    target: CheckedTarget,
    owner: Owner,
    runtime: Runtime,
    now: float,
    authenticated_session: AuthenticatedSession | None = None,
) -> AuthorizationResponse | None:
    """Issue an authorization code because the owner's consent is remembered, without showing a page.

    Return the response that redirects the code to the client, or ``None`` if a page is needed after all, because the
    consent or the session is no longer valid.

    :param authenticated_session: the session and the remembered consent as the caller read or cached them. The code
        is issued only if the session is still valid, the account is not disabled, and the consent still has the same
        scope. If ``None``, the code is issued if any consent of the owner for the client is remembered.
    """
    secret, grant, code = _make_grant_and_code(request, owner, runtime, now)
    if authenticated_session is None:
        condition = grants.add_if_consented(grant)
    else:
        condition = grants.add_if_consented_and_signed_in(
            grant, authenticated_session.session_digest, authenticated_session.consented_scope, now
        )
    if not runtime.write(Transaction(condition, (grants.add_code(code),))):
        return None
    runtime.recent_codes.add(code.digest, (code, grant))
    return target.response({"code": secret.reveal()})


def deny(
    pending: PendingAuthorization, owner: Owner, address: str | None, runtime: Runtime, now: float
) -> AuthorizationResponse:
    """Record that the owner denied a request, and return the response that redirects ``access_denied`` to the client.

    :raises InvalidRequest: if the request was decided already.
    """
    event = audit_statement(
        "consent.denied", now, client_id=pending.request.client_id, owner=owner.sub, address=address
    )
    if not runtime.write(Transaction(interactions.decide(pending.digest, now), (event,))):
        raise InvalidRequest("This request was answered already. Start again from the app.")
    return pending.target.refusal_response(AccessDenied("the resource owner denied the request"))


def refuse(pending: PendingAuthorization, refusal: OAuthError, runtime: Runtime, now: float) -> AuthorizationResponse:
    """Close a request without the owner's decision, and return the response that redirects an error to the client.

    :param refusal: the error to report to the client.

    :raises InvalidRequest: if the request was decided already.
    """
    if not runtime.write(Transaction(interactions.decide(pending.digest, now))):
        raise InvalidRequest("This request was answered already. Start again from the app.")
    return pending.target.refusal_response(refusal)


def _make_grant_and_code(
    request: AuthorizationRequest, owner: Owner, runtime: Runtime, now: float
) -> tuple[Secret, Grant, AuthorizationCode]:
    """Return a new authorization code, its grant, and the code's database row. The caller stores grant and row."""
    secret = generate_secret(AUTHORIZATION_CODE)
    expires_at = now + runtime.settings.authorization_code_lifetime
    grant = new_grant(
        owner,
        request.client_id,
        scope=format_scope(request.scope),
        resources=to_json(list(request.resources)),
        now=now,
        expires_at=expires_at + runtime.settings.access_token_lifetime,
        sid=owner.sid,
        claims=to_json(request.claims) if any(request.claims.values()) else None,
    )
    code = AuthorizationCode(
        digest=secret.digest(),
        grant_id=grant.grant_id,
        client_id=request.client_id,
        redirect_uri=request.redirect_uri,
        redirect_uri_sent=int(request.redirect_uri_sent),
        code_challenge=request.code_challenge,
        nonce=request.nonce,
        expires_at=expires_at,
    )
    return secret, grant, code


def claims_beyond_scope(request: AuthorizationRequest) -> list[str]:
    """Return the names of the claims that are requested in ``claims`` but by no requested scope, sorted."""
    included = claims_of_scope(frozenset(request.scope))
    requested = {name for claims in request.claims.values() for name in claims}
    return sorted(requested & STANDARD_CLAIMS.keys() - included)


def _select_ticked_claims(requested_claims: Mapping[str, Any], ticked: frozenset[str]) -> dict[str, Any]:
    """Return the individually requested claims that the owner granted.

    They are the claims that a ticked scope includes, or all if the checkbox ``INDIVIDUAL_CLAIMS`` is ticked.
    """
    included = STANDARD_CLAIMS.keys() if INDIVIDUAL_CLAIMS in ticked else claims_of_scope(ticked)
    return {name: claim_request for name, claim_request in requested_claims.items() if name in included}
