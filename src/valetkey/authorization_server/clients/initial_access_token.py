"""Initial access tokens: the operator creates one to authorize dynamic client registration (RFC 7591 §3)."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.endpoint import Call
from valetkey.protocol import bearer
from valetkey.protocol.errors import InvalidToken
from valetkey.protocol.secret import INITIAL_ACCESS_TOKEN, Secret, generate_secret, is_well_formed
from valetkey.storage import registrations
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.registrations import InitialAccessToken


def create_initial_access_token(store: Store, now: float, *, policy: str, lifetime_s: int, max_uses: int) -> Secret:
    """Create an initial access token, with which clients can register themselves, and return its value.

    :param policy: name of the client policy, e.g. ``web`` or ``machine``, under which the clients are registered.
    :param lifetime_s: seconds until the token expires.
    :param max_uses: how many clients can register with the token.
    """
    secret = generate_secret(INITIAL_ACCESS_TOKEN)
    row = registrations.add_initial_access_token(
        InitialAccessToken(secret.digest(), policy, max_uses, now, now + lifetime_s)
    )
    event = audit_statement("initial_access_token.created", now, detail=f"{policy}, {max_uses} uses")
    store.write(Transaction(rows=(row, event)))
    return secret


def find_initial_access_token(call: Call) -> InitialAccessToken | None:
    """Return the initial access token sent with a registration request, or ``None`` if the request has none.

    :raises InvalidToken: if the token is unknown, expired or used up.
    """
    value = bearer.parse_bearer_token(call.authorization)
    if value is None:
        return None
    token = (
        registrations.find_initial_access_token(call.runtime.store, Secret(value).digest(), call.now)
        if is_well_formed(value, INITIAL_ACCESS_TOKEN)
        else None
    )
    if token is None:
        raise InvalidToken("the initial access token is unknown, has expired or is used up")
    return token
