"""Refreshing an access token (RFC 6749 §6), with rotation and reuse detection (RFC 9700 §4.14)."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256

from valetkey.activity.audit import audit
from valetkey.authorization_server.grant_lifecycle import end_grant, new_member
from valetkey.authorization_server.openid.id_token import make_id_token
from valetkey.authorization_server.openid.subject import is_pairwise
from valetkey.authorization_server.token.response import token_response
from valetkey.authorization_server.token.scope_and_resource import fit_scope, narrow_resources, narrow_scope, plan_scope
from valetkey.protocol.errors import InvalidGrant, OAuthError
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.secret import Secret
from valetkey.storage import grants
from valetkey.storage.engine.statement import Bound
from valetkey.storage.engine.transaction import Write
from valetkey.storage.grants import Grant, RefreshToken, RetryAnswer
from valetkey.tokens.encryption import open_under, seal_under

from .request import TokenRequest

_PROOFS = frozenset({"client_secret", "client_assertion"})


def redeem(request: TokenRequest) -> bytes:
    """New tokens for a refresh token, which is used up by it.

    The same request within ``refresh_retry_window`` gets the same answer again, for an answer can be lost on
    its way; any other second use ends the family, for then a thief has one of the two.
    """
    secret = Secret(request.parameters.required("refresh_token"))
    issued = request.runtime.issued_refresh_tokens.take(secret.digest())
    if issued is not None:
        with suppress(OAuthError):  # whatever it is refused for: whether it was used before is for the store to say
            if (answer := _rotate(secret, *issued, request)) is not None:
                return answer
    token, grant = _find_token(secret, request)
    if token.used_at is None:
        if (answer := _rotate(secret, token, grant, request)) is not None:
            return answer
        token, grant = _find_token(secret, request)  # another request was first
    _check_alive(token, grant, request)
    return _answer_again(secret, token, grant, request)


def _rotate(secret: Secret, token: RefreshToken, grant: Grant, request: TokenRequest) -> bytes | None:
    """The answer to the first use of a token; None where it was used meanwhile, or its grant ended."""
    _check_alive(token, grant, request)
    audience = narrow_resources(request.parameters, grant.resource_list)
    granted = plan_scope(parse_scope(grant.scope), grant.client_id, request.runtime)
    scope = fit_scope(narrow_scope(request.parameters, granted), audience, request.runtime)
    minted = request.runtime.mint.access_token(
        client_id=grant.client_id,
        scope=scope,
        audience=audience,
        now=request.now,
        grant=grant,
        opaque=is_pairwise(request.client),
    )
    successor = new_member(grant, request.runtime, request.now, parent=token.digest)
    id_token = make_id_token(request.runtime, request.client, grant, minted.value, request.now)
    answer = token_response(minted, scope, successor.secret, id_token)
    rows = [*successor.rows, *_retry_rows(secret, token, answer, request)]
    if minted.row is not None:
        rows.append(minted.row)
    claim = grants.use_refresh_token(token.digest, request.now, successor.token.digest)
    if not request.runtime.write(Write(claim, tuple(rows))):
        return None
    successor.issued(request.runtime)
    return answer


def _find_token(secret: Secret, request: TokenRequest) -> tuple[RefreshToken, Grant]:
    found = grants.find_refresh_token(request.runtime.store, secret.digest())
    if found is None:
        raise InvalidGrant("the refresh token is not known", detail="no such token")
    return found


def _check_alive(token: RefreshToken, grant: Grant, request: TokenRequest) -> None:
    if grant.client_id != request.client.client_id:
        raise InvalidGrant("the refresh token is not known", detail="another client's token")
    if grant.revoked_at is not None:
        raise InvalidGrant("the grant was revoked")
    if token.expires_at <= request.now:
        raise InvalidGrant("the refresh token has expired")
    request.check_owner(grant)


def _answer_again(secret: Secret, token: RefreshToken, grant: Grant, request: TokenRequest) -> bytes:
    answer = _kept_answer(secret, token, request)
    if answer is None:
        request.runtime.revoke(*end_grant(request.runtime, grant, request.now, "refresh_token.reused", request.address))
        raise InvalidGrant("the refresh token was used before", detail="reuse: the family is revoked")
    row = audit(
        "refresh_token.answered_again",
        request.now,
        client_id=grant.client_id,
        owner=grant.owner,
        grant_id=grant.grant_id,
        address=request.address,
    )
    request.runtime.write(Write(rows=(row,)))
    return answer


def _kept_answer(secret: Secret, token: RefreshToken, request: TokenRequest) -> bytes | None:
    """The answer of the first use, where this is the same request, soon enough, and nobody went on from it."""
    store = request.runtime.store
    kept = grants.find_retry_answer(store, token.digest)
    if kept is None or kept.expires_at < request.now or bytes(kept.request) != _fingerprint(request):
        return None
    if token.successor is None or not grants.is_unused(store, bytes(token.successor)):
        return None
    return open_under(secret.reveal(), bytes(kept.answer))


def _retry_rows(secret: Secret, token: RefreshToken, answer: bytes, request: TokenRequest) -> list[Bound]:
    window = request.runtime.settings.refresh_retry_window
    if window == 0:
        return []
    sealed = seal_under(secret.reveal(), answer)
    kept = RetryAnswer(token.digest, _fingerprint(request), sealed, request.now + window)
    rows = [grants.ADD_RETRY_ANSWER(kept)]
    if token.parent is not None and request.now - token.issued_at <= window:
        rows.append(grants.erase_retry_answer(bytes(token.parent)))  # the answer that gave this token came through
    return rows


def _fingerprint(request: TokenRequest) -> bytes:
    """What must be equal in a retry: the client and every parameter but its proof, which may be new each time."""
    told = {name: value for name, value in request.parameters.values.items() if name not in _PROOFS}
    told["client_id"] = request.client.client_id
    repeated = {name: list(values) for name, values in request.parameters.repeated.items()}
    return sha256(json.dumps([told, repeated], sort_keys=True).encode()).digest()
