"""Dynamic client registration endpoint (RFC 7591 §3, OpenID Connect Dynamic Client Registration §3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from valetkey.endpoint import Call, MachineResponse
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.client_metadata import parse_client_metadata
from valetkey.protocol.client_policy import CLIENT_POLICIES, DEVICE_CODE_GRANT_TYPE, ClientPolicy
from valetkey.protocol.errors import InvalidClientMetadata, InvalidScope, InvalidToken
from valetkey.protocol.json_encoding import encode_json
from valetkey.protocol.refusal import JSON_HEADERS
from valetkey.protocol.scope import format_scope, parse_scope
from valetkey.protocol.secret import REGISTRATION_ACCESS_TOKEN, Secret, generate_secret, random_id
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import registrations
from valetkey.storage.registrations import InitialAccessToken, Registration
from valetkey.tokens.grant_scope import limit_scope_to_plan

from .initial_access_token import find_initial_access_token
from .sector_identifier import check_sector_identifier
from .service import register

_MAX_NOTICE_LENGTH = 500


def register_itself(call: Call) -> MachineResponse:
    """Register a client from the metadata in the request body (RFC 7591 §3.1).

    Return the client information response with status 201. It is the only response that contains the client secret.

    :raises MissingToken: if registration is closed and there is no initial access token.
    :raises InvalidToken: if the initial access token is unknown, expired or used up.
    :raises TooManyRequests: if too many clients were registered from the caller's network.
    :raises InvalidRedirectUri, InvalidClientMetadata: if the metadata cannot be registered.
    """
    runtime = call.runtime
    token = find_initial_access_token(call)
    _check_registration_allowed(token, runtime.settings)
    _charge_registration(call)
    client_id, registration_token = random_id(), generate_secret(REGISTRATION_ACCESS_TOKEN)
    rules, metadata = validate_metadata(call.json_body, token.policy if token else None, client_id, runtime, call.now)
    is_pending = token is None and runtime.settings.registration == "approve"
    created = register(
        runtime,
        client_id,
        rules.name,
        metadata,
        call.now,
        registration=Registration(
            client_id, registration_token.digest(), token.policy if token else None, int(is_pending)
        ),
        condition=registrations.use_initial_access_token(bytes(token.digest), call.now) if token else None,
        address=call.address,
        detail="registered itself",
    )
    if created is None:
        raise InvalidToken("the initial access token is used up", log_detail="another registration was faster")
    body = client_information(runtime.settings, client_id, metadata, call.now, registration_token, created.secret)
    body |= describe_omitted_scopes(call.json_body, metadata, client_id, runtime, call.now)
    return MachineResponse(201, encode_json(body), JSON_HEADERS)


def validate_metadata(
    sent: Mapping[str, Any], initial_access_policy: str | None, client_id: str, runtime: Runtime, now: float
) -> tuple[ClientPolicy, dict[str, Any]]:
    """Check the metadata of a registration request and return the client's policy and the metadata to store.

    :param sent: the metadata as the client sent it.
    :param initial_access_policy: name of the client policy that the initial access token prescribes, e.g. ``web``;
        ``None`` if the request has no such token.
    :param client_id: of the client that is registered or changed. Scopes outside of its plan are not registered.
    :raises InvalidRedirectUri, InvalidClientMetadata: if the metadata cannot be registered (RFC 7591 §3.2.2).
    """
    settings = runtime.settings
    policy_name = initial_access_policy or settings.registration_profile
    is_operator_approved = initial_access_policy is not None or settings.registration == "approve"
    policy = CLIENT_POLICIES[policy_name] if policy_name else None
    rules, metadata = parse_client_metadata(
        sent,
        policy,
        is_operator_approved=is_operator_approved,
        unsupported_grant_types=() if settings.device_path else (DEVICE_CODE_GRANT_TYPE,),
        private_use_schemes=settings.redirect_schemes,
    )
    if "scope" in metadata:
        # If registration is open, a registered scope limits nothing: the client could register again with more. Then it
        # is the default for requests without a scope. MCP clients register with the scope of their first call, and
        # request more later.
        metadata["scope" if is_operator_approved else "default_scope"] = _filter_scope(
            metadata.pop("scope"), client_id, runtime, now
        )
    check_sector_identifier(metadata, runtime)
    return rules, metadata


def limit_scope(metadata: Mapping[str, Any], limit: frozenset[str]) -> dict[str, Any]:
    """Return the metadata of a client that changes itself, with no scope that is not in its registration.

    :param metadata: the new metadata, as ``validate_metadata`` returned it. If it has no scope, the limit stays.
    :param limit: the scopes of the registration, which the operator has approved or set.
    :raises InvalidClientMetadata: if no scope is left.
    """
    sent = metadata.get("scope", metadata.get("default_scope"))
    scope = limit if sent is None else parse_scope(sent) & limit
    if not scope:
        raise InvalidClientMetadata("scope contains only scopes that the registration does not include")
    others = {name: value for name, value in metadata.items() if name not in {"scope", "default_scope"}}
    return {**others, "scope": format_scope(scope)}


def describe_omitted_scopes(
    sent: Mapping[str, Any], metadata: Mapping[str, Any], client_id: str, runtime: Runtime, now: float
) -> dict[str, str]:
    """Return a member for the response that names the scopes which were left out, and why; empty if there are none.

    :param sent: the metadata as the client sent it.
    :param metadata: the metadata that is stored.
    """
    requested = parse_scope(sent.get("scope"))
    unknown, not_in_plan = _find_omitted_scopes(requested, client_id, runtime, now)
    registered = parse_scope(metadata.get("scope", metadata.get("default_scope")))
    reasons = []
    if not_approved := requested - registered - unknown - not_in_plan:
        reasons.append(f"{format_scope(not_approved)} (not in the registration)")
    if not_in_plan:
        plan = runtime.subscriptions.get_plan_name(client_id, now)
        reasons.append(f"{format_scope(not_in_plan)} (not in the plan {plan})")
    if unknown:
        reasons.append(f"{format_scope(unknown)} (unknown)")
    return {"scope_notice": f"not registered: {', '.join(reasons)}"[:_MAX_NOTICE_LENGTH]} if reasons else {}


def client_information(
    settings: Settings,
    client_id: str,
    metadata: Mapping[str, Any],
    issued_at: float,
    registration_token: Secret,
    secret: Secret | None,
) -> dict[str, Any]:
    """Return the body of a client information response (RFC 7591 §3.2.1, RFC 7592 §3).

    :param issued_at: when the client was registered, in seconds since 1970.
    :param secret: the client secret if this request issued one, else ``None``.
    """
    body: dict[str, Any] = {
        "client_id": client_id,
        "client_id_issued_at": int(issued_at),
        **_response_members(metadata),
        "registration_access_token": registration_token.reveal(),
        "registration_client_uri": (
            f"{settings.issuer}{settings.oauth_path}/register/client?client_id={quote(client_id, safe='')}"
        ),
    }
    if secret is not None:
        body |= {"client_secret": secret.reveal(), "client_secret_expires_at": 0}
    return body


def _response_members(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored client metadata with the member names of RFC 7591 §2: ``default_scope`` becomes ``scope``."""
    members = dict(metadata)
    return {"scope": members.pop("default_scope"), **members} if "default_scope" in members else members


def _check_registration_allowed(token: InitialAccessToken | None, settings: Settings) -> None:
    if token is None and settings.registration == "closed":
        raise MissingToken("registration requires an initial access token")


def _charge_registration(call: Call) -> None:
    description = "too many registrations from this network"
    network = caller_network(call.address)
    call.runtime.limits.charge("registration_limit", network, now=call.now, description=description)


def _filter_scope(text: str, client_id: str, runtime: Runtime, now: float) -> str:
    """Return the requested scopes that this server has and the client's plan includes.

    Other scopes are left out, as RFC 7591 §2 allows. ``describe_omitted_scopes`` names them in the response.

    :raises InvalidClientMetadata: if the requested scope is malformed, or no scope is left.
    """
    try:
        requested = parse_scope(text)
    except InvalidScope as refusal:
        raise InvalidClientMetadata(refusal.description) from refusal
    unknown, not_in_plan = _find_omitted_scopes(requested, client_id, runtime, now)
    registered = requested - unknown - not_in_plan
    if not registered and not_in_plan:
        plan = runtime.subscriptions.get_plan_name(client_id, now)
        raise InvalidClientMetadata(f"scope contains only scopes that the plan {plan} does not include")
    if not registered:
        raise InvalidClientMetadata("scope contains none of this server's scopes")
    return format_scope(registered)


def _find_omitted_scopes(
    requested: frozenset[str], client_id: str, runtime: Runtime, now: float
) -> tuple[frozenset[str], frozenset[str]]:
    """Return which requested scopes this server does not have, and which the client's plan does not include."""
    unknown = requested - runtime.settings.known_scopes.keys()
    supported = requested - unknown
    return unknown, supported - limit_scope_to_plan(supported, client_id, runtime.subscriptions, runtime.settings, now)
