"""The resource owner's answer, and the code that a yes is worth (RFC 6749 §4.1.2)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from valetkey.activity.audit import audit
from valetkey.authorization_server.grant_lifecycle import new_grant
from valetkey.caches.authenticated_session import Visit
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.claims import STANDARD_CLAIMS, claims_of_scope
from valetkey.protocol.errors import AccessDenied, InvalidRequest, OAuthError
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import format_scope
from valetkey.protocol.secret import AUTHORIZATION_CODE, INTERACTION, Secret, is_well_formed, mint
from valetkey.protocol.uri import is_loopback_host
from valetkey.runtime import Runtime
from valetkey.storage import grants, interactions
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.transaction import Write
from valetkey.storage.grants import Code, Grant

from .consent_record import Consented, consent_rows, scope_lines
from .endpoint import reopen
from .request import AuthorizationRequest, CheckedTarget

CLAIMS = "claims"  # the line on the consent page for claims that are asked for one by one


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits for its owner's answer, in the browser that began it."""

    digest: bytes
    request: AuthorizationRequest
    target: CheckedTarget


@dataclass(frozen=True, slots=True)
class Question:
    """What the consent page shows."""

    target: CheckedTarget
    scopes: tuple[tuple[str, str, bool], ...]  # name, words, granted before
    redirect_host: str
    is_program: bool  # it goes to a program on the person's device, not to a page of this server
    only_difference: bool  # what was granted before need not be asked about again


def find_waiting(interaction_id: str, browser: bytes, runtime: Runtime, now: float) -> Waiting:
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
    return Waiting(row.digest, request, reopen(request, runtime, now))


def question(waiting: Waiting, owner: Owner, runtime: Runtime) -> Question:
    """What to ask: each scope in words, and whether it was granted before."""
    parts = urlsplit(waiting.request.redirect_uri)
    asked = scope_lines(waiting.request.scope, waiting.request.client_id, owner, runtime)
    one_by_one = claims_beyond_scope(waiting.request)
    if one_by_one:
        told = ", ".join(name.replace("_", " ") for name in one_by_one)
        asked.append((CLAIMS, f"See your {told}", False))
    return Question(
        waiting.target,
        tuple(asked),
        parts.netloc or f"{parts.scheme}: (an app on your device)",
        is_loopback_host(parts.hostname) and parts.netloc != urlsplit(runtime.settings.issuer).netloc,
        not (waiting.target.client.policy.asks_each_time or "consent" in waiting.request.prompt),
    )


def allow(
    waiting: Waiting, scope: frozenset[str], owner: Owner, address: str | None, runtime: Runtime, now: float
) -> AuthorizationResponse:
    """The answer that takes a code to the client, for the scopes that the owner left ticked.

    :raises InvalidRequest: where the request was answered already.
    """
    left = {place: _left(wishes, scope) for place, wishes in waiting.request.claims.items()}
    granted = replace(waiting.request, scope=tuple(sorted(scope & set(waiting.request.scope))), claims=left)
    secret, grant, code = _grant(granted, owner, runtime, now)
    consented = Consented(waiting.target.client, waiting.request.scope, granted.scope, owner, address)
    rows = (grants.ADD_GRANT(grant), grants.ADD_CODE(code), *consent_rows(consented, runtime, now))
    if not runtime.write(Write(interactions.decide(waiting.digest, now), rows)):
        raise InvalidRequest("This request was answered already. Start again from the app.")
    runtime.issued_codes.add(code.digest, (code, grant))
    return waiting.target.response({"code": secret.reveal()})


def allow_remembered(
    request: AuthorizationRequest,
    target: CheckedTarget,
    owner: Owner,
    runtime: Runtime,
    now: float,
    visit: Visit | None = None,
) -> AuthorizationResponse | None:
    """The answer that takes a code to the client without asking again; None where it has to be asked after all.

    :param visit: what was read before: the sign-in must last, the account not be disabled, and the consent be of that
        scope. Without it the consent must be there.
    """
    secret, grant, code = _grant(request, owner, runtime, now)
    if visit is None:
        claim = grants.add_consented(grant)
    else:
        claim = grants.add_in_visit(grant, visit.session, visit.consented, now)
    if not runtime.write(Write(claim, (grants.ADD_CODE(code),))):
        return None
    runtime.issued_codes.add(code.digest, (code, grant))
    return target.response({"code": secret.reveal()})


def deny(waiting: Waiting, owner: Owner, address: str | None, runtime: Runtime, now: float) -> AuthorizationResponse:
    """The answer that tells the client of the owner's no.

    :raises InvalidRequest: where the request was answered already.
    """
    event = audit("consent.denied", now, client_id=waiting.request.client_id, owner=owner.sub, address=address)
    if not runtime.write(Write(interactions.decide(waiting.digest, now), (event,))):
        raise InvalidRequest("This request was answered already. Start again from the app.")
    return waiting.target.refusal(AccessDenied("the resource owner denied the request"))


def refuse(waiting: Waiting, refusal: OAuthError, runtime: Runtime, now: float) -> AuthorizationResponse:
    """The answer that takes a refusal to the client, once.

    :raises InvalidRequest: where the request was answered already.
    """
    if not runtime.write(Write(interactions.decide(waiting.digest, now))):
        raise InvalidRequest("This request was answered already. Start again from the app.")
    return waiting.target.refusal(refusal)


def _grant(request: AuthorizationRequest, owner: Owner, runtime: Runtime, now: float) -> tuple[Secret, Grant, Code]:
    secret = mint(AUTHORIZATION_CODE)
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
    code = Code(
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


def _left(wishes: Mapping[str, Any], ticked: frozenset[str]) -> dict[str, Any]:
    """Of the claims asked for one by one, those that a ticked scope opens, or all where the owner ticked them."""
    opened = STANDARD_CLAIMS.keys() if CLAIMS in ticked else claims_of_scope(ticked)
    return {name: wish for name, wish in wishes.items() if name in opened}
