"""The resource owner's answer, and the code that a yes is worth (RFC 6749 §4.1.2)."""

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

INDIVIDUAL_CLAIMS = "claims"  # the line on the consent page for claims that are asked for one by one


@dataclass(frozen=True, slots=True)
class PendingAuthorization:
    """A request that waits for its owner's answer, in the browser that began it."""

    digest: bytes
    request: AuthorizationRequest
    target: CheckedTarget


@dataclass(frozen=True, slots=True)
class ConsentPrompt:
    """What the consent page shows."""

    target: CheckedTarget
    scopes: tuple[tuple[str, str, bool], ...]  # name, words, granted before
    redirect_host: str
    redirects_to_loopback: bool  # it goes to a program on the person's device, not to a page of this server
    only_new_scopes: bool  # what was granted before need not be asked about again


def load_pending(interaction_id: str, browser: bytes, runtime: Runtime, now: float) -> PendingAuthorization:
    """:raises InvalidRequest: where it was answered, is over, or began in another browser."""
    known = is_well_formed(interaction_id, INTERACTION)
    row = interactions.find(runtime.store, Secret(interaction_id).digest()) if known else None
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
    """What to ask: each scope in words, and whether it was granted before."""
    parts = urlsplit(pending.request.redirect_uri)
    asked = describe_scopes(pending.request.scope, pending.request.client_id, owner, runtime)
    one_by_one = claims_beyond_scope(pending.request)
    if one_by_one:
        told = ", ".join(name.replace("_", " ") for name in one_by_one)
        asked.append((INDIVIDUAL_CLAIMS, f"See your {told}", False))
    return ConsentPrompt(
        pending.target,
        tuple(asked),
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
    """The answer that takes a code to the client, for the scopes that the owner left ticked.

    :raises InvalidRequest: where the request was answered already.
    """
    left = {place: _select_ticked_claims(wishes, scope) for place, wishes in pending.request.claims.items()}
    granted = replace(pending.request, scope=tuple(sorted(scope & set(pending.request.scope))), claims=left)
    secret, grant, code = _make_grant_and_code(granted, owner, runtime, now)
    consented = ConsentDecision(pending.target.client, pending.request.scope, granted.scope, owner, address)
    rows = (grants.add(grant), grants.add_code(code), *consent_statements(consented, runtime, now))
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
    """The answer that takes a code to the client without asking again; None where it has to be asked after all.

    :param visit: what was read before: the sign-in must last, the account not be disabled, and the consent be of that
        scope. Without it the consent must be there.
    """
    secret, grant, code = _make_grant_and_code(request, owner, runtime, now)
    if authenticated_session is None:
        claim = grants.add_if_consented(grant)
    else:
        claim = grants.add_if_consented_and_signed_in(
            grant, authenticated_session.session_digest, authenticated_session.consented_scope, now
        )
    if not runtime.write(Transaction(claim, (grants.add_code(code),))):
        return None
    runtime.recent_codes.add(code.digest, (code, grant))
    return target.response({"code": secret.reveal()})


def deny(
    pending: PendingAuthorization, owner: Owner, address: str | None, runtime: Runtime, now: float
) -> AuthorizationResponse:
    """The answer that tells the client of the owner's no.

    :raises InvalidRequest: where the request was answered already.
    """
    event = audit_statement(
        "consent.denied", now, client_id=pending.request.client_id, owner=owner.sub, address=address
    )
    if not runtime.write(Transaction(interactions.decide(pending.digest, now), (event,))):
        raise InvalidRequest("This request was answered already. Start again from the app.")
    return pending.target.refusal_response(AccessDenied("the resource owner denied the request"))


def refuse(pending: PendingAuthorization, refusal: OAuthError, runtime: Runtime, now: float) -> AuthorizationResponse:
    """The answer that takes a refusal to the client, once.

    :raises InvalidRequest: where the request was answered already.
    """
    if not runtime.write(Transaction(interactions.decide(pending.digest, now))):
        raise InvalidRequest("This request was answered already. Start again from the app.")
    return pending.target.refusal_response(refusal)


def _make_grant_and_code(
    request: AuthorizationRequest, owner: Owner, runtime: Runtime, now: float
) -> tuple[Secret, Grant, AuthorizationCode]:
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
    """Standard claims that are asked for one by one and that no asked scope opens."""
    opened = claims_of_scope(frozenset(request.scope))
    wished = {name for wishes in request.claims.values() for name in wishes}
    return sorted(wished & STANDARD_CLAIMS.keys() - opened)


def _select_ticked_claims(requested_claims: Mapping[str, Any], ticked: frozenset[str]) -> dict[str, Any]:
    """Of the claims asked for one by one, those that a ticked scope opens, or all where the owner ticked them."""
    opened = STANDARD_CLAIMS.keys() if INDIVIDUAL_CLAIMS in ticked else claims_of_scope(ticked)
    return {name: wish for name, wish in requested_claims.items() if name in opened}
