"""Clients that register themselves (RFC 7591 §3, OpenID Connect Dynamic Client Registration §3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.id_token import ensure_signing_keys
from valetkey.endpoint import JSON_HEADERS, Call, MachineResponse
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.client_metadata import parse_client_metadata
from valetkey.protocol.client_policy import CLIENT_POLICIES, SECRET_AUTH_METHODS, ClientPolicy
from valetkey.protocol.errors import InvalidClientMetadata, InvalidScope, InvalidToken, TooManyRequests
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.secret import CLIENT_SECRET, REGISTRATION_ACCESS_TOKEN, Secret, generate_secret, random_id
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import change_feed, clients, registrations
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.registrations import InitialAccessToken, Registration

from .initial_access_token import find_initial_access_token
from .sector_identifier import check_sector_identifier


def register(call: Call) -> MachineResponse:
    """Register a client by its metadata; its secret and its registration access token are told once."""
    runtime = call.runtime
    token = find_initial_access_token(call)
    _check_registration_allowed(token, runtime.settings)
    _charge_registration(call)
    rules, metadata = validate_metadata(call.json_body, token.policy if token else None, runtime)
    client_id, own = random_id(), generate_secret(REGISTRATION_ACCESS_TOKEN)
    secret = generate_secret(CLIENT_SECRET) if metadata["token_endpoint_auth_method"] in SECRET_AUTH_METHODS else None
    waits = token is None and runtime.settings.registration == "approve"
    rows = [
        clients.add(client_id, rules.name, metadata, call.now, disabled_at=call.now if waits else None),
        registrations.add(Registration(client_id, own.digest(), token.policy if token else None, int(waits))),
        audit_statement(
            "client.created", call.now, client_id=client_id, address=call.address, detail="registered itself"
        ),
    ]
    if rules.name == "browser":  # the API's CORS knows its origin from now on
        rows.append(change_feed.add("changed", client_id, call.now, runtime.revocation_expiry))
    if secret is not None:
        rows.append(clients.add_secret(client_id, secret.digest(), call.now))
    claim = registrations.use_initial_access_token(bytes(token.digest), call.now) if token else None
    if not runtime.write(Transaction(claim, tuple(rows))):
        raise InvalidToken("the initial access token is used up", log_detail="another registration was first")
    ensure_signing_keys(runtime, metadata, call.now)
    answer = client_information(runtime, client_id, metadata, call.now, own, secret)
    return MachineResponse(201, json.dumps(answer).encode(), JSON_HEADERS)


def validate_metadata(
    sent: Mapping[str, Any], initial_access_policy: str | None, runtime: Runtime
) -> tuple[ClientPolicy, dict[str, Any]]:
    """The policy and the metadata to register, after every check.

    :param vouched_policy: the policy that an initial access token named.
    :raises InvalidRedirectUri, InvalidClientMetadata: where it cannot be registered (RFC 7591 §3.2.2).
    """
    settings = runtime.settings
    profile = initial_access_policy or settings.registration_profile
    is_vouched_for = initial_access_policy is not None or settings.registration == "approve"
    policy = CLIENT_POLICIES[profile] if profile else None
    rules, metadata = parse_client_metadata(sent, policy, is_operator_approved=is_vouched_for)
    if "scope" in metadata:
        # Where anybody may register, a scope is no limit: the client could register again with more. It is what a
        # request without one asks for. MCP clients register with what their first call needs and step up later.
        metadata["scope" if is_vouched_for else "default_scope"] = _filter_scope(metadata.pop("scope"), settings)
    check_sector_identifier(metadata, runtime)
    return rules, metadata


def client_information(
    runtime: Runtime,
    client_id: str,
    metadata: Mapping[str, Any],
    issued_at: float,
    registration_token: Secret,
    secret: Secret | None,
) -> dict[str, Any]:
    """The client information response (RFC 7591 §3.2.1, RFC 7592 §3)."""
    settings = runtime.settings
    told: dict[str, Any] = {
        "client_id": client_id,
        "client_id_issued_at": int(issued_at),
        **_response_members(metadata),
        "registration_access_token": registration_token.reveal(),
        "registration_client_uri": (
            f"{settings.issuer}{settings.oauth_path}/register/client?client_id={quote(client_id, safe='')}"
        ),
    }
    if secret is not None:
        told |= {"client_secret": secret.reveal(), "client_secret_expires_at": 0}
    return told


def _response_members(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """In the words of RFC 7591 §2, which has one for both kinds of scope."""
    told = dict(metadata)
    return {"scope": told.pop("default_scope"), **told} if "default_scope" in told else told


def _check_registration_allowed(token: InitialAccessToken | None, settings: Settings) -> None:
    if token is None and settings.registration == "closed":
        raise MissingToken("registration needs an initial access token here")


def _charge_registration(call: Call) -> None:
    limit = call.runtime.limits["registration_limit"]
    spent = call.runtime.limiter.spend(f"register:{caller_network(call.address)}", limit, call.now)
    if not spent.is_admitted:
        raise TooManyRequests("too many registrations from this network", retry_after=spent.retry_after)


def _filter_scope(text: str, settings: Settings) -> str:
    """What there is of the scope that was asked for (RFC 7591 §2: the server may register less)."""
    try:
        known = parse_scope(text) & settings.known_scopes.keys()
    except InvalidScope as refusal:
        raise InvalidClientMetadata(refusal.description) from refusal
    if not known:
        raise InvalidClientMetadata("scope has no name that is known here")
    return format_scope(known)
