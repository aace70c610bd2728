"""Refreshing an access token (RFC 6749 §6), with rotation and reuse detection (RFC 9700 §4.14)."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.grant_lifecycle import issue_refresh_token, revoke_grant_statements
from valetkey.authorization_server.openid.id_token import make_id_token
from valetkey.authorization_server.openid.subject import is_pairwise
from valetkey.authorization_server.token.response import token_response_body
from valetkey.authorization_server.token.scope_and_resource import (
    limit_scope_to_plan,
    limit_scope_to_resources,
    narrow_resources,
    narrow_scope,
)
from valetkey.protocol.errors import InvalidGrant, OAuthError
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.secret import Secret
from valetkey.storage import grants
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import Grant, RefreshToken, RetryAnswer
from valetkey.tokens.encryption import decrypt_with_secret, encrypt_with_secret

from .request import TokenRequest

_CLIENT_PROOF_PARAMETERS = frozenset({"client_secret", "client_assertion"})


def redeem(request: TokenRequest) -> bytes:
    """New tokens for a refresh token, which is used up by it.

    The same request within ``refresh_retry_window`` gets the same answer again, for an answer can be lost on
    its way; any other second use ends the family, for then a thief has one of the two.
    """
    secret = Secret(request.parameters.require("refresh_token"))
    issued = request.runtime.recent_refresh_tokens.pop(secret.digest())
    if issued is not None:
        with suppress(OAuthError):  # whatever it is refused for: whether it was used before is for the store to say
            if (answer := _rotate(secret, *issued, request)) is not None:
                return answer
    token, grant = _find_token(secret, request)
    if token.used_at is None:
        if (answer := _rotate(secret, token, grant, request)) is not None:
            return answer
        token, grant = _find_token(secret, request)  # another request was first
    _check_active(token, grant, request)
    return _repeat_response(secret, token, grant, request)


def _rotate(secret: Secret, token: RefreshToken, grant: Grant, request: TokenRequest) -> bytes | None:
    """The answer to the first use of a token; None where it was used meanwhile, or its grant ended."""
    _check_active(token, grant, request)
    audience = narrow_resources(request.parameters, grant.resource_list)
    granted = limit_scope_to_plan(parse_scope(grant.scope), grant.client_id, request.runtime)
    scope = limit_scope_to_resources(narrow_scope(request.parameters, granted), audience, request.runtime)
    minted = request.runtime.token_generator.generate_access_token(
        client_id=grant.client_id,
        scope=scope,
        audience=audience,
        now=request.now,
        grant=grant,
        opaque=is_pairwise(request.client),
    )
    successor = issue_refresh_token(grant, request.runtime, request.now, parent=token.digest)
    id_token = make_id_token(request.runtime, request.client, grant, minted.value, request.now)
    answer = token_response_body(minted, scope, successor.secret, id_token)
    rows = [*successor.rows, *_retry_statements(secret, token, answer, request)]
    if minted.row is not None:
        rows.append(minted.row)
    claim = grants.use_refresh_token(token.digest, request.now, successor.token.digest)
    if not request.runtime.write(Transaction(claim, tuple(rows))):
        return None
    successor.remember(request.runtime)
    return answer


def _find_token(secret: Secret, request: TokenRequest) -> tuple[RefreshToken, Grant]:
    found = grants.find_refresh_token(request.runtime.store, secret.digest())
    if found is None:
        raise InvalidGrant("the refresh token is not known", log_detail="no such token")
    return found


def _check_active(token: RefreshToken, grant: Grant, request: TokenRequest) -> None:
    if grant.client_id != request.client.client_id:
        raise InvalidGrant("the refresh token is not known", log_detail="another client's token")
    if grant.revoked_at is not None:
        raise InvalidGrant("the grant was revoked")
    if token.expires_at <= request.now:
        raise InvalidGrant("the refresh token has expired")
    request.check_owner(grant)


def _repeat_response(secret: Secret, token: RefreshToken, grant: Grant, request: TokenRequest) -> bytes:
    answer = _find_retry_response(secret, token, request)
    if answer is None:
        request.runtime.revoke(
            *revoke_grant_statements(request.runtime, grant, request.now, "refresh_token.reused", request.address)
        )
        raise InvalidGrant("the refresh token was used before", log_detail="reuse: the family is revoked")
    row = audit_statement(
        "refresh_token.answered_again",
        request.now,
        client_id=grant.client_id,
        owner=grant.owner,
        grant_id=grant.grant_id,
        address=request.address,
    )
    request.runtime.write(Transaction(rows=(row,)))
    return answer


def _find_retry_response(secret: Secret, token: RefreshToken, request: TokenRequest) -> bytes | None:
    """The answer of the first use, where this is the same request, soon enough, and nobody went on from it."""
    store = request.runtime.store
    kept = grants.find_retry_answer(store, token.digest)
    if kept is None or kept.expires_at < request.now or bytes(kept.request) != _fingerprint(request):
        return None
    if token.successor is None or not grants.is_refresh_token_unused(store, bytes(token.successor)):
        return None
    return decrypt_with_secret(secret.reveal(), bytes(kept.answer))


def _retry_statements(
    secret: Secret, token: RefreshToken, response: bytes, request: TokenRequest
) -> list[BoundStatement]:
    window = request.runtime.settings.refresh_retry_window
    if window == 0:
        return []
    sealed = encrypt_with_secret(secret.reveal(), response)
    kept = RetryAnswer(token.digest, _fingerprint(request), sealed, request.now + window)
    rows = [grants.add_retry_answer(kept)]
    if token.parent is not None and request.now - token.issued_at <= window:
        rows.append(grants.remove_retry_answer(bytes(token.parent)))  # the answer that gave this token came through
    return rows


def _fingerprint(request: TokenRequest) -> bytes:
    """What must be equal in a retry: the client and every parameter but its proof, which may be new each time."""
    told = {name: value for name, value in request.parameters.values.items() if name not in _CLIENT_PROOF_PARAMETERS}
    told["client_id"] = request.client.client_id
    repeated = {name: list(values) for name, values in request.parameters.repeated.items()}
    return sha256(json.dumps([told, repeated], sort_keys=True).encode()).digest()
