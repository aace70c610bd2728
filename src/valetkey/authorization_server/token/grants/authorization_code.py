"""The authorization code grant at the token endpoint (RFC 6749 §4.1.3)."""

from __future__ import annotations

from contextlib import suppress

from valetkey.authorization_server.grant_lifecycle import revoke_grant_statements
from valetkey.protocol import pkce
from valetkey.protocol.errors import InvalidGrant, OAuthError
from valetkey.protocol.secret import Secret
from valetkey.storage import grants
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.grants import AuthorizationCode, Grant

from .issue import issue_first_tokens
from .request import TokenRequest


def redeem(request: TokenRequest) -> bytes:
    """Exchange an authorization code for tokens, and return the JSON body of the response.

    A code works once; a second use revokes the tokens of the first (RFC 6749 §4.1.2). A code that this process
    issued is in its cache; only other codes are read from the database.

    :raises InvalidGrant: if the code is unknown, expired, used or another client's, if its grant was revoked, or if
        ``redirect_uri`` or ``code_verifier`` does not match.
    """
    digest = Secret(request.parameters.require("code")).digest()
    cached = request.runtime.recent_codes.pop(digest)
    if cached is not None:
        with suppress(OAuthError):  # for any reason: only the store knows whether the code was used before
            condition = grants.consume_cached_code(digest, cached[1], request.now)
            return _redeem_code(*cached, request, condition, else_rows=())
    stored = grants.find_code(request.runtime.store, digest)
    if stored is None:
        raise InvalidGrant("the code is unknown", log_detail="it is not in the store")
    condition = grants.consume_code(digest, request.now)
    return _redeem_code(*stored, request, condition, else_rows=_replay_statements(stored[1], request))


def _redeem_code(
    code: AuthorizationCode,
    grant: Grant,
    request: TokenRequest,
    condition: BoundStatement,
    else_rows: tuple[BoundStatement, ...],
) -> bytes:
    """Check an authorization code and its grant, exchange the code for tokens, and return the JSON body.

    :param condition: the SQL statement that marks the code as used.
    :param else_rows: the SQL statements to execute if another request used the code first.
    """
    request.user = grant.owner
    if code.client_id != request.client.client_id:
        raise InvalidGrant("the code is unknown", log_detail="the code was issued to another client")
    _check_redirect_uri(code, request)
    # Checked before any write, so that only a holder of the verifier can cause a revocation.
    pkce.check_code_verifier(request.parameters.get("code_verifier"), code.code_challenge)
    _check_redeemable(code, grant, request)
    request.check_grant(grant)
    body = issue_first_tokens(grant, request, condition, else_rows, code.nonce)
    if body is None:
        raise InvalidGrant(
            "the code was used before, or its grant was revoked", log_detail="replay: the grant is revoked"
        )
    return body


def _check_redirect_uri(code: AuthorizationCode, request: TokenRequest) -> None:
    sent = request.parameters.get("redirect_uri")
    if sent is None and (code.code_challenge or not code.redirect_uri_sent):
        return  # OAuth 2.1 §10.2: with PKCE redirect_uri may be left out
    if sent != code.redirect_uri:
        raise InvalidGrant("redirect_uri is not the one of the authorization request")


def _check_redeemable(code: AuthorizationCode, grant: Grant, request: TokenRequest) -> None:
    if grant.revoked_at is not None:  # checked first, so that repeated replays write nothing more
        raise InvalidGrant("the grant was revoked")
    if code.consumed_at is not None:
        request.runtime.store.write_all(*_replay_statements(grant, request))
        raise InvalidGrant("the code was used before", log_detail="replay: the grant is revoked")
    if code.expires_at <= request.now:
        raise InvalidGrant("the code has expired")


def _replay_statements(grant: Grant, request: TokenRequest) -> tuple[BoundStatement, ...]:
    return revoke_grant_statements(grant, request.now, "code.replayed", request.address)
