"""The device code grant at the token endpoint (RFC 8628 §3.4), which the device polls until the user has decided."""

from __future__ import annotations

from valetkey.authorization_server.grant_lifecycle import revoke_grant_statements
from valetkey.protocol.errors import AccessDenied, AuthorizationPending, ExpiredToken, InvalidGrant, SlowDown
from valetkey.protocol.secret import Secret
from valetkey.storage import device_codes, grants
from valetkey.storage.device_codes import DeviceCode
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import Grant

from .issue import issue_first_tokens
from .request import TokenRequest

_SLOW_DOWN_S = 5.0  # added to the interval after each poll that came too soon (§3.5)
_POLL_LEEWAY_S = 0.5  # tolerance, because two requests take different times to arrive


def redeem(request: TokenRequest) -> bytes:
    """Exchange a device code for tokens after the owner has allowed the request, and return the JSON body.

    A device code works once; a second use revokes the tokens of the first.

    :raises AuthorizationPending: if the owner has not decided yet (RFC 8628 §3.5).
    :raises SlowDown: if the device polls too often; from then on it has to wait 5 seconds longer between polls.
    :raises AccessDenied: if the owner denied the request.
    :raises ExpiredToken: if the code has expired.
    :raises InvalidGrant: if the code is unknown, used or another client's, or its grant was revoked.
    """
    code = _find_code(request)
    grant = _find_grant(code, request)
    request.user = grant.owner
    _check_redeemable(code, grant, request)
    request.check_grant(grant)
    condition = device_codes.consume(code.digest, request.now)
    body = issue_first_tokens(grant, request, condition, _replay_statements(grant, request))
    if body is None:
        raise InvalidGrant(
            "the device_code was used before, or its grant was revoked", log_detail="replay: the grant is revoked"
        )
    return body


def _find_code(request: TokenRequest) -> DeviceCode:
    digest = Secret(request.parameters.require("device_code")).digest()
    code = device_codes.find(request.runtime.store, digest)
    if code is None or code.client_id != request.client.client_id:
        raise InvalidGrant(
            "the device_code is unknown", log_detail="it is not in the store, or was issued to another client"
        )
    return code


def _find_grant(code: DeviceCode, request: TokenRequest) -> Grant:
    """Return the grant that the owner's consent to the device's request created.

    :raises AuthorizationPending, SlowDown: if the owner has not decided yet (RFC 8628 §3.5).
    :raises AccessDenied: if the owner denied the request.
    :raises ExpiredToken: if the device code has expired.
    :raises InvalidGrant: if the grant was deleted.
    """
    if code.consumed_at is None and code.expires_at <= request.now:
        raise ExpiredToken("the device_code has expired: request a new one")
    if code.decided_at is None:
        _record_poll(code, request)
        raise AuthorizationPending("the resource owner has not decided yet")
    grant = grants.find(request.runtime.store, code.grant_id) if code.grant_id else None
    if code.grant_id is None:
        raise AccessDenied("the resource owner denied the request")
    if grant is None:
        raise InvalidGrant("the grant was revoked", log_detail="the grant was deleted")
    return grant


def _record_poll(code: DeviceCode, request: TokenRequest) -> None:
    condition = device_codes.record_poll(code.digest, request.now, _POLL_LEEWAY_S)
    slow_down = device_codes.slow_down(code.digest, _SLOW_DOWN_S, request.now)
    if not request.runtime.store.write(Transaction(condition, else_rows=(slow_down,), is_independent=True)):
        raise SlowDown(f"wait {_SLOW_DOWN_S:.0f} seconds longer between two requests")


def _check_redeemable(code: DeviceCode, grant: Grant, request: TokenRequest) -> None:
    if grant.revoked_at is not None:
        raise InvalidGrant("the grant was revoked")
    if code.consumed_at is not None:
        request.runtime.store.write_all(*_replay_statements(grant, request))
        raise InvalidGrant("the device_code was used before", log_detail="replay: the grant is revoked")


def _replay_statements(grant: Grant, request: TokenRequest) -> tuple[BoundStatement, ...]:
    return revoke_grant_statements(grant, request.now, "device_code.replayed", request.address)
