"""The resource owner's decision about an authorization request (RFC 6749 §4.1.2).

Load the stored request, then issue an authorization code, or return an error to the client.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server import texts
from valetkey.authorization_server.grant_lifecycle import check_still_active
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.claims import STANDARD_CLAIMS, describe_claims
from valetkey.protocol.client_identity import covers_identity
from valetkey.protocol.errors import AccessDenied, InvalidRequest, OAuthError
from valetkey.protocol.redirect_uri import describe_destination
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import INTERACTION, Secret, is_well_formed
from valetkey.protocol.uri import is_loopback_host
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import grants, interactions
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction

from .codes import make_grant_and_code
from .consent_record import (
    ConsentDecision,
    allowed_scopes,
    consent_statements,
    describe_changes,
    describe_scopes,
    find_consent,
    refused_scopes,
)
from .endpoint import recheck_target
from .repeated_decision import AlreadyDecided, response_statement
from .request import AuthorizationRequest, CheckedTarget, PendingAuthorization
from .shown_scopes import covered_scopes, fingerprint_shown, names_of_other_apis

# The value of the consent page's checkbox for individually requested claims. The name of a scope has no backslash
# (RFC 6749 §3.3).
INDIVIDUAL_CLAIMS = "\\claims"


@dataclass(frozen=True, slots=True)
class ConsentPrompt:
    """What the consent page shows: the client, the requested scopes, and the host that it redirects to."""

    target: CheckedTarget
    scopes: tuple[tuple[str, str, bool], ...]  # name, description, whether it was granted before
    redirect_host: str
    redirects_to_loopback: bool  # to a program on the user's device, not to a page of this server
    only_new_scopes: bool  # scopes that were granted before need no new consent
    changes: tuple[str, ...]  # what changed in the client's identity since the owner's last consent, as sentences
    apis: tuple[str, ...]  # names of the APIs, if the request is not for this server's own
    allowed_scope: frozenset[str]  # of the owner's remembered consent, also if it is not for these APIs
    refused_scope: frozenset[str]  # what the owner left unticked before
    shown: str  # digest of what is shown, as ``fingerprint_shown`` returns it


class RequestLost(InvalidRequest):
    """This browser cannot continue an authorization request: it has expired, or another browser has started it."""


def load_pending(interaction_id: str, browser: Secret, runtime: Runtime, now: float) -> PendingAuthorization:
    """Return the authorization request that was stored under an id and waits for the resource owner's decision.

    :param interaction_id: the id that ``save_interaction`` returned, as the URL of the consent page contains it.
    :param browser: the cookie that identifies the browser.
    :raises AlreadyDecided: if the request was decided.
    :raises RequestLost: if there is no such request, or the request has expired or was sent by another browser.
    :raises InvalidRequest: if the request was stored by another version of Valetkey, or is no longer valid because the
        client was changed or removed. Both error messages are for the user.
    """
    well_formed = is_well_formed(interaction_id, INTERACTION)
    row = interactions.find(runtime.store, Secret(interaction_id).digest()) if well_formed else None
    if row is None or not browser.matches(row.browser):
        raise RequestLost(texts.OTHER_BROWSER)
    if row.decided_at is None and row.expires_at <= now:
        raise RequestLost(texts.REQUEST_EXPIRED)
    try:
        request = AuthorizationRequest.from_json(row.request)
    except (KeyError, TypeError) as cause:
        raise InvalidRequest(texts.SETTINGS_CHANGED) from cause
    target = recheck_target(request, runtime, now)
    pending = PendingAuthorization(Secret(interaction_id), browser, request, target)
    if row.decided_at is not None:
        raise AlreadyDecided(pending)
    return pending


def build_consent_prompt(pending: PendingAuthorization, owner: Owner, runtime: Runtime) -> ConsentPrompt:
    """Return what the consent page shows for a request to this owner."""
    parts = urlsplit(pending.request.redirect_uri)
    previous = find_consent(owner, pending.request.client_id, runtime.store)
    request, settings = pending.request, runtime.settings
    granted_before = covered_scopes(previous, request.scope, request.resources, pending.target.client, settings)
    scopes = describe_scopes(request.scope, granted_before, settings)
    individual_claims = claims_beyond_scope(pending.request, runtime.settings)
    if individual_claims:
        scopes.append((INDIVIDUAL_CLAIMS, describe_claims(individual_claims), False))
    return ConsentPrompt(
        pending.target,
        tuple(scopes),
        describe_destination(pending.request.redirect_uri),
        is_loopback_host(parts.hostname) and parts.netloc != urlsplit(runtime.settings.issuer).netloc,
        not (
            (previous is not None and not covers_identity(previous.identity, pending.request.client_identity))
            or pending.target.must_prompt_each_time
            or "consent" in pending.request.prompt
        ),
        describe_changes(previous, pending.request.client_identity),
        names_of_other_apis(request.resources, runtime),
        allowed_scopes(previous),
        refused_scopes(previous),
        fingerprint_shown(request.scope, request.resources, settings),
    )


def allow(
    pending: PendingAuthorization,
    decision: str,
    scope: frozenset[str],
    owner: Owner,
    address: str | None,
    runtime: Runtime,
    now: float,
) -> AuthorizationResponse:
    """Record the owner's consent, and return the response that redirects an authorization code to the client.

    :param decision: what the browser submitted: it gets this response again if it submits the same twice.
    :param scope: the checkboxes that the owner left ticked on the consent page: names of scopes, and
        ``INDIVIDUAL_CLAIMS`` for the claims that the client requests individually.
    :param address: the owner's network address, for the consent and the audit log.
    :raises AlreadyDecided: if the request was decided meanwhile.
    """
    requested = pending.request
    granted_scope = tuple(sorted(scope & set(requested.scope)))
    offered_individually = frozenset(claims_beyond_scope(requested, runtime.settings))
    granted_claims = runtime.settings.claims_of(frozenset(granted_scope))
    if INDIVIDUAL_CLAIMS in scope:
        granted_claims |= offered_individually
    client = pending.target.client
    secret, grant, code = make_grant_and_code(
        replace(requested, scope=granted_scope), granted_claims, client, owner, runtime.settings, now
    )
    offered_claims = runtime.settings.claims_of(frozenset(requested.scope)) | offered_individually
    consent_decision = ConsentDecision(
        client,
        requested.client_identity,
        requested.scope,
        granted_scope,
        requested.resources,
        offered_claims - granted_claims,
        owner,
        address,
    )
    seen = check_still_active(owner.sub, grant.client_id, runtime, now)
    rows = (
        *consent_statements(consent_decision, runtime, now),
        grants.add_unless_revoked(grant, seen),
        grants.add_code(code),
    )
    response = pending.target.response({"code": secret.reveal()})
    _decide(pending, decision, owner, response, rows, runtime, now)
    runtime.recent_codes.add(code.digest, (code, grant))
    return response


def deny(
    pending: PendingAuthorization, decision: str, owner: Owner, address: str | None, runtime: Runtime, now: float
) -> AuthorizationResponse:
    """Record that the owner denied a request, and return the response that redirects ``access_denied`` to the client.

    :param decision: what the browser submitted: it gets this response again if it submits the same twice.
    :raises AlreadyDecided: if the request was decided meanwhile.
    """
    event = audit_statement(
        "consent.denied", now, client_id=pending.request.client_id, owner=owner.sub, address=address
    )
    response = pending.target.refusal_response(AccessDenied("the resource owner denied the request"))
    return _decide(pending, decision, owner, response, (event,), runtime, now)


def refuse(
    pending: PendingAuthorization,
    decision: str,
    owner: Owner | None,
    refusal: OAuthError,
    runtime: Runtime,
    now: float,
) -> AuthorizationResponse:
    """Close a request that cannot be allowed, and return the response that redirects an error to the client.

    :param decision: what the browser submitted: it gets this response again if it submits the same twice.
    :param refusal: the error to report to the client.
    :raises AlreadyDecided: if the request was decided meanwhile.
    """
    return _decide(pending, decision, owner, pending.target.refusal_response(refusal), (), runtime, now)


def _decide(
    pending: PendingAuthorization,
    decision: str,
    owner: Owner | None,
    response: AuthorizationResponse,
    rows: tuple[BoundStatement, ...],
    runtime: Runtime,
    now: float,
) -> AuthorizationResponse:
    """Close a request with a response, and return the response.

    :param rows: further SQL statements to execute in the same transaction.
    :raises AlreadyDecided: if the request was decided meanwhile.
    """
    statement = response_statement(pending, decision, owner, response, runtime.settings, now)
    if not runtime.store.write(Transaction(interactions.decide(pending.digest, now), (*rows, statement))):
        raise AlreadyDecided(pending)
    return response


def claims_beyond_scope(request: AuthorizationRequest, settings: Settings) -> list[str]:
    """Return the names of the claims that are requested in ``claims`` but by no requested scope, sorted."""
    requested = {name for claims in request.claims.values() for name in claims}
    return sorted(requested & STANDARD_CLAIMS.keys() - settings.claims_of(frozenset(request.scope)))
