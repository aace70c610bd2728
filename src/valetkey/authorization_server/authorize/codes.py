"""Authorization codes (RFC 6749 §4.1.2), and those that are issued without a prompt: the owner has consented before."""

from __future__ import annotations

from valetkey.authorization_server.grant_lifecycle import check_still_active, new_grant
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import format_scope
from valetkey.protocol.secret import AUTHORIZATION_CODE, Secret, generate_secret
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import grants, interactions
from valetkey.storage.clients import Client
from valetkey.storage.consents import Consent
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import AuthorizationCode, Grant

from .repeated_decision import response_statement
from .request import AuthorizationRequest, CheckedTarget, PendingAuthorization


def issue_remembered(
    request: AuthorizationRequest,
    target: CheckedTarget,
    owner: Owner,
    consent: Consent,
    runtime: Runtime,
    now: float,
    session_digest: bytes | None = None,
) -> AuthorizationResponse | None:
    """Issue an authorization code because the owner's consent is remembered, without showing a page.

    Return the response that redirects the code to the client, or ``None`` if a page is needed after all, because the
    consent has changed or the session is no longer valid.

    :param consent: the remembered consent as the caller read or cached it, which is sufficient for the request.
    :param session_digest: digest of the secret of the owner's session, if the caller cached the session: the code is
        issued only if the session is still valid and the account is not disabled.
    """
    secret, grant, code = _make_remembered_code(request, target.client, owner, runtime.settings, now)
    if session_digest is None:
        seen = check_still_active(owner.sub, grant.client_id, runtime, now)
        condition = grants.add_if_consented(grant, consent, seen)
    else:
        # The statement itself checks the account. A code for a client that was disabled meanwhile cannot be redeemed.
        seen = runtime.feed.get_view().seen_revocations(grant.client_id, owner.sub)
        condition = grants.add_if_consented_and_signed_in(grant, consent, session_digest, now, seen)
    if not runtime.store.write(Transaction(condition, (grants.add_code(code),), is_independent=True)):
        return None
    runtime.recent_codes.add(code.digest, (code, grant))
    return target.response({"code": secret.reveal()})


def continue_remembered(
    pending: PendingAuthorization, owner: Owner, consent: Consent, runtime: Runtime, now: float
) -> AuthorizationResponse | None:
    """Issue an authorization code for a stored request because the owner's consent is remembered.

    It closes the request. Return the response that redirects the code to the client, or ``None`` if the request was
    decided, or the consent was changed or withdrawn, since they were read.

    :param consent: the remembered consent as the caller read it, which is sufficient for the request.
    """
    target = pending.target
    secret, grant, code = _make_remembered_code(pending.request, target.client, owner, runtime.settings, now)
    response = target.response({"code": secret.reveal()})
    seen = check_still_active(owner.sub, grant.client_id, runtime, now)
    rows = (
        grants.add_unless_revoked(grant, seen),
        grants.add_code(code),
        response_statement(pending, "", owner, response, runtime.settings, now),
    )
    if not runtime.store.write(Transaction(interactions.decide_if_consented(pending.digest, consent, now), rows)):
        return None
    runtime.recent_codes.add(code.digest, (code, grant))
    return response


def _make_remembered_code(
    request: AuthorizationRequest, client: Client, owner: Owner, settings: Settings, now: float
) -> tuple[Secret, Grant, AuthorizationCode]:
    """Return what ``make_grant_and_code`` returns, for a remembered consent: it includes no claim beyond the scope."""
    granted_claims = settings.claims_of(frozenset(request.scope))
    return make_grant_and_code(request, granted_claims, client, owner, settings, now)


def make_grant_and_code(
    request: AuthorizationRequest,
    granted_claims: frozenset[str],
    client: Client,
    owner: Owner,
    settings: Settings,
    now: float,
) -> tuple[Secret, Grant, AuthorizationCode]:
    """Return a new authorization code, its grant, and the code's database row. The caller stores grant and row.

    :param granted_claims: names of the claims that the owner allows; others are removed from the requested ones.
    """
    claims = {
        place: {name: claim for name, claim in requested.items() if name in granted_claims}
        for place, requested in request.claims.items()
    }
    secret = generate_secret(AUTHORIZATION_CODE)
    expires_at = now + settings.authorization_code_lifetime
    grant = new_grant(
        owner,
        client,
        scope=format_scope(request.scope),
        resources=to_json(list(request.resources)),
        now=now,
        expires_at=expires_at + settings.access_token_lifetime,
        sid=owner.sid,
        claims=to_json(claims) if any(claims.values()) else None,
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
