"""The first tokens of a grant, for whichever code an owner's yes was worth."""

from __future__ import annotations

from valetkey.authorization_server.grant_lifecycle import issue_refresh_token
from valetkey.authorization_server.openid.id_token import make_id_token
from valetkey.authorization_server.openid.subject import is_pairwise
from valetkey.authorization_server.token.response import token_response_body
from valetkey.authorization_server.token.scope_and_resource import (
    limit_scope_to_plan,
    limit_scope_to_resources,
    narrow_resources,
)
from valetkey.protocol.scope import parse_scope
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
    """The answer that gives them; None where the claim on the code is lost. All is made before the claim: what cannot
    be made must not use the code up.

    :param otherwise: what is written where the claim is lost.
    :raises OAuthError: where they cannot be given; nothing is written.
    """
    audience = narrow_resources(request.parameters, grant.resource_list)
    granted = limit_scope_to_plan(parse_scope(grant.scope), grant.client_id, request.runtime)
    scope = limit_scope_to_resources(granted, audience, request.runtime)
    minted = request.runtime.token_generator.generate_access_token(
        client_id=grant.client_id,
        scope=scope,
        audience=audience,
        now=request.now,
        grant=grant,
        opaque=is_pairwise(request.client),
    )
    id_token = make_id_token(request.runtime, request.client, grant, minted.value, request.now, nonce)
    refreshes = "refresh_token" in request.client.grant_types
    member = issue_refresh_token(grant, request.runtime, request.now) if refreshes else None
    rows = (*(member.rows if member else ()), *((minted.row,) if minted.row else ()))
    if not request.runtime.write(Transaction(condition, rows, else_rows)):
        return None
    return token_response_body(minted, scope, member.remember(request.runtime) if member else None, id_token)
