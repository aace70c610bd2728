"""The user's side of device authorization (RFC 8628 §3.3): enter the user code, then allow or deny the request."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.authorize.consent_record import ConsentDecision, consent_statements, describe_scopes
from valetkey.authorization_server.grant_lifecycle import new_grant
from valetkey.protocol.errors import InvalidRequest, TooManyRequests
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.secret import DEVICE_INTERACTION, Secret, generate_secret, is_well_formed
from valetkey.protocol.user_code import format_user_code, parse_user_code
from valetkey.rate_limiting.address import caller_network
from valetkey.rate_limiting.limit import parse_limit
from valetkey.runtime import Runtime
from valetkey.storage import device_codes, grants, interactions
from valetkey.storage.clients import Client
from valetkey.storage.device_codes import DeviceCode
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.interactions import Interaction

_UNKNOWN_CODE_MESSAGE = "This code is not known, or has expired. Check it, or get a new one on the device."
_CLOSED_REQUEST_MESSAGE = "This code was answered already, or has expired. Start again on the device."


@dataclass(frozen=True, slots=True)
class DeviceConsent:
    """A device authorization request that waits for the decision of the owner who entered its user code."""

    digest: bytes  # of the interaction id
    device_code: DeviceCode
    client: Client

    @property
    def scope(self) -> tuple[str, ...]:
        """The scopes that the device requests, sorted."""
        return tuple(sorted(parse_scope(self.device_code.scope)))

    @property
    def user_code(self) -> str:
        """The user code as the device shows it, with a dash in the middle."""
        return format_user_code(self.device_code.user_code)


def enter_user_code(
    entered_code: str, owner: Owner, browser: bytes, address: str | None, runtime: Runtime, now: float
) -> Secret:
    """Check the user code that an owner entered, and return an id to pass to ``load_device_consent``.

    :param browser: the digest of the cookie that identifies the browser.
    :param address: the browser's IP address; wrong codes are counted for each owner and for each network.
    :raises InvalidRequest: if the code does not exist, has expired, or its request was decided. The error message is
        for the user.
    :raises TooManyRequests: if this owner or this network entered too many wrong codes (RFC 8628 §5.1).
    """
    settings = runtime.settings
    guesses = [
        (f"devicecode:{caller_network(address)}", parse_limit(settings.device_code_address_limit)),
        (f"devicecode:owner:{owner.sub}", parse_limit(settings.device_code_limit)),
    ]
    for key, limit in guesses:  # charged before the lookup, refunded if the code is right
        spent = runtime.limiter.spend(key, limit, now)
        if not spent.is_admitted:
            raise TooManyRequests("Too many codes were tried. Please wait.", retry_after=spent.retry_after)
    user_code = parse_user_code(entered_code)
    code = device_codes.find_by_user_code(runtime.store, user_code) if user_code else None
    if code is None or code.decided_at is not None or code.expires_at <= now:
        raise InvalidRequest(_UNKNOWN_CODE_MESSAGE)
    for key, limit in guesses:
        runtime.limiter.refund_best_effort(key, limit)
    secret = generate_secret(DEVICE_INTERACTION)
    request = to_json({"device_code": code.digest.hex(), "owner": owner.sub, "sid": owner.sid})
    expires_at = min(code.expires_at, now + settings.interaction_lifetime)
    row = Interaction(secret.digest(), browser, code.client_id, request, expires_at)
    runtime.write(Transaction(rows=(interactions.add(row),)))
    return secret


def load_device_consent(
    interaction_id: str, owner: Owner, browser: bytes, runtime: Runtime, now: float
) -> DeviceConsent:
    """Return the device authorization request that waits for this owner's decision.

    :param interaction_id: the id that ``enter_user_code`` returned.
    :param browser: the digest of the cookie that identifies the browser.
    :raises InvalidRequest: if the user code was entered by another owner, in another session or in another browser, or
        if the request was decided or has expired. The error message is for the user.
    """
    well_formed = is_well_formed(interaction_id, DEVICE_INTERACTION)
    row = interactions.find(runtime.store, Secret(interaction_id).digest()) if well_formed else None
    if row is None or not hmac.compare_digest(row.browser, browser):
        raise InvalidRequest("This code was not entered in this browser. Enter it again.")
    interaction = json.loads(row.request)
    if (interaction["owner"], interaction["sid"]) != (owner.sub, owner.sid):
        raise InvalidRequest("This code was not entered in this sign-in. Enter it again.")
    code = device_codes.find(runtime.store, bytes.fromhex(interaction["device_code"]))
    client = runtime.clients.find(row.client_id, now)
    if code is None or client is None or row.decided_at is not None or row.expires_at <= now:
        raise InvalidRequest(_CLOSED_REQUEST_MESSAGE)
    if code.decided_at is not None:
        raise InvalidRequest(_CLOSED_REQUEST_MESSAGE)
    return DeviceConsent(row.digest, code, client)


def describe_requested_scopes(
    device_consent: DeviceConsent, owner: Owner, runtime: Runtime
) -> list[tuple[str, str, bool]]:
    """Return a tuple for each requested scope: name, description, and whether the owner granted it before."""
    return describe_scopes(device_consent.scope, device_consent.client.client_id, owner, runtime)


def allow(
    device_consent: DeviceConsent,
    scope: frozenset[str],
    owner: Owner,
    address: str | None,
    runtime: Runtime,
    now: float,
) -> None:
    """Grant the device the requested scopes that the owner left ticked, and record the consent.

    The grant belongs to no session: a television stays connected when its owner signs out on the phone.

    :param scope: the scopes that the owner left ticked.
    :param address: the owner's network address, for the consent and the audit log.
    :raises InvalidRequest: if the request was decided already, or the code has expired in the meantime.
    """
    granted = tuple(name for name in device_consent.scope if name in scope)
    code = device_consent.device_code
    grant = new_grant(
        owner,
        code.client_id,
        scope=" ".join(granted),
        resources=code.resources,
        now=now,
        expires_at=code.expires_at + runtime.settings.access_token_lifetime,
    )
    decision = ConsentDecision(device_consent.client, device_consent.scope, granted, owner, address)
    rows = (
        grants.add(grant),
        *consent_statements(decision, runtime, now),
        interactions.decide(device_consent.digest, now),
    )
    if not runtime.write(Transaction(device_codes.decide(code.digest, grant.grant_id, now), rows)):
        raise InvalidRequest(_CLOSED_REQUEST_MESSAGE)


def deny(device_consent: DeviceConsent, owner: Owner, address: str | None, runtime: Runtime, now: float) -> None:
    """Record that the owner denied the request; the device gets ``access_denied`` at its next poll.

    :param address: the owner's network address, for the audit log.

    :raises InvalidRequest: if the request was decided already, or the code has expired in the meantime.
    """
    event = audit_statement(
        "consent.denied", now, client_id=device_consent.client.client_id, owner=owner.sub, address=address
    )
    rows = (event, interactions.decide(device_consent.digest, now))
    if not runtime.write(Transaction(device_codes.decide(device_consent.device_code.digest, None, now), rows)):
        raise InvalidRequest(_CLOSED_REQUEST_MESSAGE)
