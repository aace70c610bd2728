"""The refresh token grant at the token endpoint (RFC 6749 §6), with rotation and reuse detection (RFC 9700 §4.14)."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.grant_lifecycle import issue_refresh_token, revoke_grant_statements
from valetkey.authorization_server.openid.id_token import make_id_token
from valetkey.authorization_server.token.response import token_response_body
from valetkey.authorization_server.token.scope_and_resource import resolve_grant
from valetkey.protocol.errors import InvalidGrant, OAuthError
from valetkey.protocol.json_encoding import encode_json
from valetkey.protocol.secret import Secret
from valetkey.storage import refresh_tokens, retry_answers
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import Grant
from valetkey.storage.refresh_tokens import RefreshToken
from valetkey.storage.retry_answers import RetryAnswer
from valetkey.tokens.encryption import decrypt_with_secret, encrypt_with_secret

from .request import TokenRequest

_CLIENT_PROOF_PARAMETERS = frozenset({"client_secret", "client_assertion"})


def redeem(request: TokenRequest) -> bytes:
    """Exchange a refresh token for new tokens, and return the JSON body of the response.

    A refresh token works once. The same request within ``refresh_retry_window`` seconds gets the same response again,
    because a response can be lost on the network. Any other second use revokes the grant with all its tokens, because
    two parties have the token and one of them may be a thief.

    A token that this process issued is in its cache; only other tokens are read from the database.

    :raises InvalidGrant: if the token is unknown, expired, used or another client's, or its grant was revoked.
    """
    secret = Secret(request.parameters.require("refresh_token"))
    cached = request.runtime.recent_refresh_tokens.pop(secret.digest())
    if cached is not None:
        with suppress(OAuthError):  # for any reason: only the store knows whether the token was used before
            if (body := _rotate(secret, *cached, request)) is not None:
                return body
    token, grant = _find_token(secret, request)
    while token.used_at is None:
        if (body := _rotate(secret, token, grant, request)) is not None:
            return body
        token, grant = _find_token(secret, request)  # another request used it first, or the grant lost a scope
    _check_active(token, grant, request)
    return _repeat_response(secret, token, grant, request)


def _rotate(secret: Secret, token: RefreshToken, grant: Grant, request: TokenRequest) -> bytes | None:
    """Replace a refresh token by its successor, and return the JSON body with the new tokens.

    Return ``None`` if the refresh token was used, or its grant revoked or narrowed, in the meantime.
    """
    _check_active(token, grant, request)
    access = resolve_grant(request.parameters, grant, request.client, request.runtime, request.now, narrows_scope=True)
    access_token = request.generate_access_token(access, grant)
    successor = issue_refresh_token(grant, request.runtime.settings, request.now, parent=token.digest)
    id_token = make_id_token(request.runtime, request.client, grant, access.scope, access_token.value, request.now)
    body = token_response_body(access_token, access.scope, successor.secret, id_token)
    rows = [*successor.rows, *_retry_statements(secret, token, body, request)]
    if access_token.row is not None:
        rows.append(access_token.row)
    condition = refresh_tokens.use(token.digest, grant, request.now, successor.token.digest)
    if not request.runtime.store.write(Transaction(condition, tuple(rows), is_independent=True)):
        return None
    successor.remember(request.runtime)
    return body


def _find_token(secret: Secret, request: TokenRequest) -> tuple[RefreshToken, Grant]:
    token_and_grant = refresh_tokens.find(request.runtime.store, secret.digest())
    if token_and_grant is None:
        raise InvalidGrant("the refresh token is unknown", log_detail="it is not in the store")
    return token_and_grant


def _check_active(token: RefreshToken, grant: Grant, request: TokenRequest) -> None:
    request.user = grant.owner
    if grant.client_id != request.client.client_id:
        raise InvalidGrant("the refresh token is unknown", log_detail="the token was issued to another client")
    if grant.revoked_at is not None:
        raise InvalidGrant("the grant was revoked")
    if token.expires_at <= request.now:
        raise InvalidGrant("the refresh token has expired")
    request.check_grant(grant)


def _repeat_response(secret: Secret, token: RefreshToken, grant: Grant, request: TokenRequest) -> bytes:
    """Return the response to the first use of a refresh token again if this request is a retry of that use.

    :raises InvalidGrant: if it is not a retry; the grant with all its tokens is revoked.
    """
    body = _find_retry_response(secret, token, request)
    if body is None:
        request.runtime.store.write_all(
            *revoke_grant_statements(grant, request.now, "refresh_token.reused", request.address)
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
    request.runtime.store.write(Transaction(rows=(row,)))
    return body


def _find_retry_response(secret: Secret, token: RefreshToken, request: TokenRequest) -> bytes | None:
    """Return the response to the first use of a refresh token, or ``None`` if this request is not a retry of that use.

    A retry is the same request within ``refresh_retry_window`` seconds, before the token's successor was used.
    """
    store = request.runtime.store
    stored = retry_answers.find(store, token.digest)
    if stored is None or stored.expires_at < request.now or stored.request != _fingerprint(request):
        return None
    if token.successor is None or not refresh_tokens.is_unused(store, bytes(token.successor)):
        return None
    return decrypt_with_secret(secret.reveal(), stored.answer)


def _retry_statements(
    secret: Secret, token: RefreshToken, response: bytes, request: TokenRequest
) -> list[BoundStatement]:
    """Return the SQL statements, not yet executed, that store a token response so that a retry can get it again.

    The response is encrypted with the refresh token of the request. The list is empty if ``refresh_retry_window`` is 0.
    """
    window = request.runtime.settings.refresh_retry_window
    if window == 0:
        return []
    encrypted = encrypt_with_secret(secret.reveal(), response)
    retry_answer = RetryAnswer(token.digest, _fingerprint(request), encrypted, request.now + window)
    rows = [retry_answers.add(retry_answer)]
    if token.parent is not None and request.now - token.issued_at <= window:
        rows.append(retry_answers.remove(bytes(token.parent)))  # the client has the response that contained this token
    return rows


def _fingerprint(request: TokenRequest) -> bytes:
    """Return a hash of what must be equal in a retry: the client, and all parameters except the client's credentials.

    Credentials are left out because a client assertion is new in each request.
    """
    single = {name: value for name, value in request.parameters.values.items() if name not in _CLIENT_PROOF_PARAMETERS}
    single["client_id"] = request.client.client_id
    return sha256(encode_json([sorted(single.items()), sorted(request.parameters.repeated.items())])).digest()
