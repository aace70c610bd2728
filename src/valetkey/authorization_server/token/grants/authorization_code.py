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
    """Tokens for a code: the first time only. A second time ends what the first time gave (§4.1.2)."""
    digest = Secret(request.parameters.require("code")).digest()
    issued = request.runtime.recent_codes.pop(digest)
    if issued is not None:
        with suppress(OAuthError):  # whatever it is refused for: whether it was used before is for the store to say
            return _redeem_code(*issued, request, else_rows=())
    found = grants.find_code(request.runtime.store, digest)
    if found is None:
        raise InvalidGrant("the code is not known", log_detail="no such code")
    return _redeem_code(*found, request, else_rows=_replay_statements(found[1], request))


def _redeem_code(
    code: AuthorizationCode, grant: Grant, request: TokenRequest, else_rows: tuple[BoundStatement, ...]
) -> bytes:
    """:param otherwise: what is written where another request was first."""
    if code.client_id != request.client.client_id:
        raise InvalidGrant("the code is not known", log_detail="another client's code")
    _check_redirect_uri(code, request)
    # Before the claim, so that only who holds the verifier can set off the revocation.
    pkce.check_code_verifier(request.parameters.get("code_verifier"), code.code_challenge)
    _check_redeemable(code, grant, request)
    request.check_owner(grant)
    claim = grants.consume_code(code.digest, request.now)
    answer = issue_first_tokens(grant, request, claim, else_rows, code.nonce)
    if answer is None:
        raise InvalidGrant("the code was used before, or its grant was revoked", log_detail="replay: grant revoked")
    return answer


def _check_redirect_uri(code: AuthorizationCode, request: TokenRequest) -> None:
    sent = request.parameters.get("redirect_uri")
    if sent is None and (code.code_challenge or not code.redirect_uri_sent):
        return  # OAuth 2.1 §10.2: with PKCE it may be left out
    if sent != code.redirect_uri:
        raise InvalidGrant("redirect_uri is not the one of the authorization request")


def _check_redeemable(code: AuthorizationCode, grant: Grant, request: TokenRequest) -> None:
    if grant.revoked_at is not None:  # first, so that a code that is replayed for ever writes nothing more
        raise InvalidGrant("the grant was revoked")
    if code.consumed_at is not None:
        request.runtime.revoke(*_replay_statements(grant, request))
        raise InvalidGrant("the code was used before", log_detail="replay: grant revoked")
    if code.expires_at <= request.now:
        raise InvalidGrant("the code has expired")


def _replay_statements(grant: Grant, request: TokenRequest) -> tuple[BoundStatement, ...]:
    return revoke_grant_statements(request.runtime, grant, request.now, "code.replayed", request.address)
