"""The response to a decision that the same browser submits twice, such as by a double click on "Allow".

The response is stored in the transaction that stores the decision, encrypted with what only this browser has. The
same decision of the same owner gets it again, while the authorization code in it can still be redeemed.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256

from valetkey.authorization_server import texts
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import Secret
from valetkey.settings import Settings
from valetkey.storage import grants, retry_answers
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.retry_answers import RetryAnswer
from valetkey.tokens.encryption import decrypt_with_secret, encrypt_with_secret

from .request import PendingAuthorization


class AlreadyDecided(InvalidRequest):
    """The authorization request was decided before, in this browser."""

    def __init__(self, pending: PendingAuthorization) -> None:
        super().__init__(texts.ALREADY_ANSWERED)
        self.pending = pending


def response_statement(
    pending: PendingAuthorization,
    decision: str,
    owner: Owner | None,
    response: AuthorizationResponse,
    settings: Settings,
    now: float,
) -> BoundStatement:
    """Return the SQL statement, not yet run, that stores the response to a decision for ``find_response``.

    :param decision: what the browser submitted, as ``find_response`` compares it; empty if it only loaded the page.
    """
    encrypted = encrypt_with_secret(_encryption_secret(pending, owner), json.dumps(asdict(response)).encode())
    expires_at = now + settings.authorization_code_lifetime
    return retry_answers.add(RetryAnswer(pending.digest, _fingerprint(decision), encrypted, expires_at))


def find_response(
    pending: PendingAuthorization, decision: str | None, owner: Owner | None, store: Store, now: float
) -> AuthorizationResponse | None:
    """Return the response to a decision again; ``None`` if it is too late, or another decision or another owner.

    It is too late when the authorization code in the response was redeemed or has expired, or its grant was revoked.

    :param decision: what was submitted; ``None`` if the page was loaded again, which repeats any decision.
    """
    stored = retry_answers.find(store, pending.digest)
    if (
        stored is None
        or stored.expires_at <= now
        or (decision is not None and stored.request != _fingerprint(decision))
    ):
        return None
    decrypted = decrypt_with_secret(_encryption_secret(pending, owner), stored.answer)
    if decrypted is None:
        return None
    response = AuthorizationResponse(**json.loads(decrypted))
    code = response.parameters.get("code")
    return response if code is None or _is_redeemable(code, store, now) else None


def _is_redeemable(code: str, store: Store, now: float) -> bool:
    code_and_grant = grants.find_code(store, Secret(code).digest())
    if code_and_grant is None:
        return False
    row, grant = code_and_grant
    return row.consumed_at is None and row.expires_at > now and grant.revoked_at is None


def _encryption_secret(pending: PendingAuthorization, owner: Owner | None) -> str:
    return json.dumps([pending.interaction_id.reveal(), pending.browser.reveal(), owner.sub if owner else None])


def _fingerprint(decision: str) -> bytes:
    return sha256(decision.encode()).digest()
