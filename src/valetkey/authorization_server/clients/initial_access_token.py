"""Initial access tokens: the operator's word for clients that register themselves (RFC 7591 §3)."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.endpoint import Call
from valetkey.protocol import bearer
from valetkey.protocol.errors import InvalidToken
from valetkey.protocol.secret import INITIAL_ACCESS_TOKEN, Secret, generate_secret, is_well_formed
from valetkey.runtime import Runtime
from valetkey.storage import registrations
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.registrations import InitialAccessToken


def create_initial_access_token(runtime: Runtime, *, policy: str, lifetime_s: int, max_uses: int) -> Secret:
    """A token that registers ``uses`` clients under a policy within ``lives`` seconds."""
    secret, now = generate_secret(INITIAL_ACCESS_TOKEN), runtime.clock()
    row = registrations.add_initial_access_token(
        InitialAccessToken(secret.digest(), policy, max_uses, now, now + lifetime_s)
    )
    told = audit_statement("initial_access_token.created", now, detail=f"{policy}, {max_uses} uses")
    runtime.write(Transaction(rows=(row, told)))
    return secret


def find_initial_access_token(call: Call) -> InitialAccessToken | None:
    """The token that came with a registration; None where none came.

    :raises InvalidToken: where it is unknown, expired or used up.
    """
    value = bearer.parse_bearer_token(call.authorization)
    if value is None:
        return None
    known = is_well_formed(value, INITIAL_ACCESS_TOKEN)
    found = (
        registrations.find_initial_access_token(call.runtime.store, Secret(value).digest(), call.now) if known else None
    )
    if found is None:
        raise InvalidToken("the initial access token is not known, has expired or is used up")
    return found
