"""Issue the first tokens of a grant in exchange for an authorization code or a device code."""

from __future__ import annotations

from valetkey.authorization_server.grant_lifecycle import issue_refresh_token
from valetkey.authorization_server.openid.id_token import make_id_token
from valetkey.authorization_server.token.response import token_response_body
from valetkey.authorization_server.token.scope_and_resource import resolve_grant
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import Grant

from .request import TokenRequest


def issue_first_tokens(
    grant: Grant,
    request: TokenRequest,
    condition: BoundStatement,
    else_rows: tuple[BoundStatement, ...],
    nonce: str | None = None,
) -> bytes | None:
    """Issue the first tokens of a grant, and return the JSON body of the token response.

    Return ``None`` if the code was used, or its grant revoked, in the meantime.

    Tokens are generated before the code is marked as used, so that a failure does not use the code up.

    :param condition: the SQL statement that marks the code as used; it has no effect if the code was used before, or
        its grant was revoked.
    :param else_rows: the SQL statements to execute if ``condition`` has no effect.
    :param nonce: the ``nonce`` of the authorization request, for the ID token; ``None`` if it had none.
    :raises OAuthError: if the tokens cannot be issued; nothing is written.
    """
    access = resolve_grant(request.parameters, grant, request.client, request.runtime, request.now)
    access_token = request.generate_access_token(access, grant)
    id_token = make_id_token(
        request.runtime, request.client, grant, access.scope, access_token.value, request.now, nonce
    )
    may_refresh = "refresh_token" in request.client.grant_types
    refresh_token = issue_refresh_token(grant, request.runtime.settings, request.now) if may_refresh else None
    rows = (*(refresh_token.rows if refresh_token else ()), *((access_token.row,) if access_token.row else ()))
    if not request.runtime.store.write(Transaction(condition, rows, else_rows, is_independent=True)):
        return None
    return token_response_body(
        access_token, access.scope, refresh_token.remember(request.runtime) if refresh_token else None, id_token
    )
