"""The first tokens of a grant, for whichever code an owner's yes was worth."""

from __future__ import annotations

from valetkey.authorization_server.grant_lifecycle import new_member
from valetkey.authorization_server.openid.id_token import make_id_token
from valetkey.authorization_server.openid.subject import is_pairwise
from valetkey.authorization_server.token.response import token_response
from valetkey.authorization_server.token.scope_and_resource import fit_scope, narrow_resources, plan_scope
from valetkey.protocol.scope import parse_scope
from valetkey.storage.engine.statement import Bound
from valetkey.storage.engine.transaction import Write
from valetkey.storage.grants import Grant

from .request import TokenRequest


def first_tokens(
    grant: Grant, request: TokenRequest, claim: Bound, otherwise: tuple[Bound, ...], nonce: str | None = None
) -> bytes | None:
    """The answer that gives them; None where the claim on the code is lost. All is made before the claim: what cannot
    be made must not use the code up.

    :param otherwise: what is written where the claim is lost.
    :raises OAuthError: where they cannot be given; nothing is written.
    """
    audience = narrow_resources(request.parameters, grant.resource_list)
    granted = plan_scope(parse_scope(grant.scope), grant.client_id, request.runtime)
    scope = fit_scope(granted, audience, request.runtime)
    minted = request.runtime.mint.access_token(
        client_id=grant.client_id,
        scope=scope,
        audience=audience,
        now=request.now,
        grant=grant,
        opaque=is_pairwise(request.client),
    )
    id_token = make_id_token(request.runtime, request.client, grant, minted.value, request.now, nonce)
    refreshes = "refresh_token" in request.client.grant_types
    member = new_member(grant, request.runtime, request.now) if refreshes else None
    rows = (*(member.rows if member else ()), *((minted.row,) if minted.row else ()))
    if not request.runtime.write(Write(claim, rows, otherwise)):
        return None
    return token_response(minted, scope, member.issued(request.runtime) if member else None, id_token)
