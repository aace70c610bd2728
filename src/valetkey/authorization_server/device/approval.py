"""The user's side of device authorization (RFC 8628 §3.3): enter the user code, then allow or deny the request."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server import texts
from valetkey.authorization_server.authorize.consent_record import (
    ConsentDecision,
    allowed_scopes,
    consent_statements,
    describe_changes,
    describe_scopes,
    find_consent,
    refused_scopes,
)
from valetkey.authorization_server.authorize.endpoint import check_identity_unchanged
from valetkey.authorization_server.authorize.interaction import store_interaction
from valetkey.authorization_server.authorize.shown_scopes import covered_scopes, fingerprint_shown, names_of_other_apis
from valetkey.authorization_server.grant_lifecycle import check_still_active, new_grant
from valetkey.authorization_server.openid.id_token import requires_auth_time
from valetkey.protocol.consented_identity import without_redirects
from valetkey.protocol.display_name import describe_character
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import parse_scope
from valetkey.protocol.secret import DEVICE_INTERACTION, Secret, generate_secret, is_well_formed
from valetkey.protocol.user_code import find_foreign_letter, format_user_code, parse_user_code
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.storage import device_codes, grants, interactions
from valetkey.storage.clients import Client
from valetkey.storage.device_codes import DeviceCode
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.interactions import Interaction


@dataclass(frozen=True, slots=True)
class DeviceConsent:
    """A device authorization request, and the owner's page for it, which was opened by entering its user code."""

    digest: bytes  # of the interaction id
    device_code: DeviceCode
    client: Client
    client_identity: str  # as it was when the owner entered the user code
    is_decided: bool  # whether the owner has decided about it on this page before

    @property
    def scope(self) -> tuple[str, ...]:
        """The scopes that the device requests, sorted."""
        return tuple(sorted(parse_scope(self.device_code.scope)))

    @property
    def resources(self) -> tuple[str, ...]:
        """URLs of the resources that the device requests."""
        return tuple(json.loads(self.device_code.resources))

    @property
    def shown_identity(self) -> str:
        """The client's identity as the page shows it: it does not say where the client can redirect the owner."""
        return without_redirects(self.client_identity)

    @property
    def user_code(self) -> str:
        """The user code as the device shows it, with a dash in the middle."""
        return format_user_code(self.device_code.user_code)

    @property
    def is_allowed(self) -> bool:
        """True if the owner allowed the request; false if the owner denied it or has not decided yet."""
        return self.device_code.grant_id is not None


def enter_user_code(
    entered_code: str, owner: Owner, browser: bytes, address: str | None, runtime: Runtime, now: float
) -> Secret:
    """Check the user code that an owner entered, and return an id to pass to ``load_device_consent``.

    :param browser: the digest of the cookie that identifies the browser.
    :param address: the browser's IP address; wrong codes are counted for each owner and for each network.
    :raises InvalidRequest: if the code does not exist, has expired, or its request was decided; or if the client
        requires the time of the owner's sign-in, and it is unknown. The error message is for the user.
    :raises TooManyRequests: if this owner or this network entered too many wrong codes (RFC 8628 §5.1), or the owner
        entered too many right ones.
    """
    guesses = [
        ("device_code_address_limit", caller_network(address)),
        ("device_code_limit", owner.sub),
    ]
    for setting, caller in guesses:  # charged before the lookup, refunded if the code is right
        runtime.limits.charge(setting, caller, now=now, description=texts.TOO_MANY_CODES)
    user_code = parse_user_code(entered_code)
    code = device_codes.find_by_user_code(runtime.store, user_code) if user_code else None
    if code is None or code.decided_at is not None or code.expires_at <= now:
        foreign_letter = find_foreign_letter(entered_code) if user_code is None else None
        raise InvalidRequest(
            texts.FOREIGN_LETTER.format(character=describe_character(foreign_letter))
            if foreign_letter
            else texts.UNKNOWN_CODE
        )
    for setting, caller in guesses:
        runtime.limits.refund(setting, caller)
    client = runtime.clients.find(code.client_id, now)
    if client is None:
        raise InvalidRequest(texts.UNKNOWN_CODE)
    if owner.auth_time is None and requires_auth_time(client, parse_scope(code.scope)):
        raise InvalidRequest(texts.SIGN_IN_TIME_UNKNOWN)
    secret = generate_secret(DEVICE_INTERACTION)
    members = {"device_code": code.digest.hex(), "owner": owner.sub, "sid": owner.sid}
    request = to_json({**members, "client_identity": client.identity})
    expires_at = min(code.expires_at, now + runtime.settings.interaction_lifetime)
    row = Interaction(secret.digest(), browser, code.client_id, request, expires_at)
    store_interaction(row, owner, address, runtime, now)
    return secret


def find_entered_code(interaction_id: str, browser: bytes, store: Store) -> DeviceCode | None:
    """Return the device code for which ``enter_user_code`` returned an id; ``None`` if this browser did not enter it.

    :param browser: the digest of the cookie that identifies the browser.
    """
    row = _find_interaction(interaction_id, browser, store)
    return device_codes.find(store, bytes.fromhex(json.loads(row.request)["device_code"])) if row else None


def _find_interaction(interaction_id: str, browser: bytes, store: Store) -> Interaction | None:
    well_formed = is_well_formed(interaction_id, DEVICE_INTERACTION)
    row = interactions.find(store, Secret(interaction_id).digest()) if well_formed else None
    return row if row is not None and hmac.compare_digest(row.browser, browser) else None


def load_device_consent(
    interaction_id: str, owner: Owner, browser: bytes, runtime: Runtime, now: float
) -> DeviceConsent:
    """Return the device authorization request that waits for this owner's decision, or was decided on this page.

    :param interaction_id: the id that ``enter_user_code`` returned.
    :param browser: the digest of the cookie that identifies the browser.
    :raises InvalidRequest: if the user code was entered by another owner, in another session or in another browser, or
        if the request was decided on another page or has expired. The error message is for the user.
    """
    row = _find_interaction(interaction_id, browser, runtime.store)
    if row is None:
        raise InvalidRequest(texts.CODE_OF_OTHER_BROWSER)
    interaction = json.loads(row.request)
    if (interaction["owner"], interaction["sid"]) != (owner.sub, owner.sid):
        raise InvalidRequest(texts.CODE_OF_EARLIER_SIGN_IN)
    code = device_codes.find(runtime.store, bytes.fromhex(interaction["device_code"]))
    client = runtime.clients.find(row.client_id, now)
    if code is not None and code.decided_at is not None and row.decided_at is None:
        row = interactions.find(runtime.store, row.digest) or row  # it may have been decided here between the two reads
    is_decided = row.decided_at is not None
    if code is None or client is None or "client_identity" not in interaction:  # the latter is of an earlier version
        raise InvalidRequest(texts.CLOSED_CODE)
    if not is_decided and (code.decided_at is not None or row.expires_at <= now):
        raise InvalidRequest(texts.CLOSED_CODE)
    check_identity_unchanged(interaction["client_identity"], client)
    return DeviceConsent(row.digest, code, client, interaction["client_identity"], is_decided)


@dataclass(frozen=True, slots=True)
class DeviceConsentPrompt:
    """Content of the consent page for a device, with the fields of ``ConsentPrompt`` that apply to devices."""

    scopes: tuple[tuple[str, str, bool], ...]
    changes: tuple[str, ...]
    apis: tuple[str, ...]
    allowed_scope: frozenset[str]
    refused_scope: frozenset[str]
    shown: str


def build_device_consent_prompt(device_consent: DeviceConsent, owner: Owner, runtime: Runtime) -> DeviceConsentPrompt:
    """Return what the consent page shows for the request of a device to this owner."""
    client, settings = device_consent.client, runtime.settings
    previous = find_consent(owner, client.client_id, runtime.store)
    granted_before = covered_scopes(previous, device_consent.scope, device_consent.resources, client, settings)
    return DeviceConsentPrompt(
        tuple(describe_scopes(device_consent.scope, granted_before, settings)),
        describe_changes(previous, device_consent.shown_identity),
        names_of_other_apis(device_consent.resources, runtime),
        allowed_scopes(previous),
        refused_scopes(previous),
        fingerprint_shown(device_consent.scope, device_consent.resources, settings),
    )


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
    :raises InvalidRequest: if the request was decided, or the code has expired, in the meantime.
    """
    granted = tuple(name for name in device_consent.scope if name in scope)
    code = device_consent.device_code
    grant = new_grant(
        owner,
        device_consent.client,
        scope=" ".join(granted),
        resources=code.resources,
        now=now,
        expires_at=code.expires_at + runtime.settings.access_token_lifetime,
    )
    seen = check_still_active(owner.sub, code.client_id, runtime, now)
    claims_of = runtime.settings.claims_of
    decision = ConsentDecision(
        device_consent.client,
        device_consent.shown_identity,
        device_consent.scope,
        granted,
        device_consent.resources,
        claims_of(frozenset(device_consent.scope)) - claims_of(frozenset(granted)),
        owner,
        address,
    )
    rows = (
        *consent_statements(decision, runtime, now),
        grants.add_unless_revoked(grant, seen),
        interactions.decide(device_consent.digest, now),
    )
    if not runtime.store.write(Transaction(device_codes.decide(code.digest, grant.grant_id, now), rows)):
        raise InvalidRequest(texts.CLOSED_CODE)


def deny(device_consent: DeviceConsent, owner: Owner, address: str | None, store: Store, now: float) -> None:
    """Record that the owner denied the request; the device gets ``access_denied`` at its next poll.

    :param address: the owner's network address, for the audit log.

    :raises InvalidRequest: if the request was decided, or the code has expired, in the meantime.
    """
    event = audit_statement(
        "consent.denied", now, client_id=device_consent.client.client_id, owner=owner.sub, address=address
    )
    rows = (event, interactions.decide(device_consent.digest, now))
    if not store.write(Transaction(device_codes.decide(device_consent.device_code.digest, None, now), rows)):
        raise InvalidRequest(texts.CLOSED_CODE)
