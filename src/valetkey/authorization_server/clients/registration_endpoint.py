"""Dynamic client registration endpoint (RFC 7591 §3, OpenID Connect Dynamic Client Registration §3)."""

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
    rules, metadata = validate_metadata(call.json_body, token.policy if token else None, runtime)
    client_id, registration_token = random_id(), generate_secret(REGISTRATION_ACCESS_TOKEN)
    secret = generate_secret(CLIENT_SECRET) if metadata["token_endpoint_auth_method"] in SECRET_AUTH_METHODS else None
    is_pending = token is None and runtime.settings.registration == "approve"
    rows = [
        clients.add(client_id, rules.name, metadata, call.now, disabled_at=call.now if is_pending else None),
        registrations.add(
            Registration(client_id, registration_token.digest(), token.policy if token else None, int(is_pending))
        ),
        audit_statement(
            "client.created", call.now, client_id=client_id, address=call.address, detail="registered itself"
        ),
    ]
    if rules.name == "browser":  # CORS of the API must allow its origin from now on
        rows.append(change_feed.add("changed", client_id, call.now, runtime.revocation_expiry))
    if secret is not None:
        rows.append(clients.add_secret(client_id, secret.digest(), call.now))
    condition = registrations.use_initial_access_token(bytes(token.digest), call.now) if token else None
    if not runtime.write(Transaction(condition, tuple(rows))):
        raise InvalidToken("the initial access token is used up", log_detail="another registration was first")
    ensure_signing_keys(runtime, metadata, call.now)
    body = client_information(runtime, client_id, metadata, call.now, registration_token, secret)
    return MachineResponse(201, json.dumps(body).encode(), JSON_HEADERS)


def validate_metadata(
    sent: Mapping[str, Any], initial_access_policy: str | None, runtime: Runtime
) -> tuple[ClientPolicy, dict[str, Any]]:
    """Check the metadata of a registration request and return the client's policy and the metadata to store.

    :param sent: the metadata as the client sent it.
    :param initial_access_policy: name of the client policy that the initial access token prescribes, e.g. ``web``;
        ``None`` if the request has no such token.
    :raises InvalidRedirectUri, InvalidClientMetadata: if the metadata cannot be registered (RFC 7591 §3.2.2).
    """
    settings = runtime.settings
    policy_name = initial_access_policy or settings.registration_profile
    is_operator_approved = initial_access_policy is not None or settings.registration == "approve"
    policy = CLIENT_POLICIES[policy_name] if policy_name else None
    rules, metadata = parse_client_metadata(sent, policy, is_operator_approved=is_operator_approved)
    if "scope" in metadata:
        # If registration is open, a registered scope limits nothing: the client could register again with more. Then it
        # is the default for requests without a scope. MCP clients register with the scope of their first call, and
        # request more later.
        metadata["scope" if is_operator_approved else "default_scope"] = _filter_scope(metadata.pop("scope"), settings)
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
    """Return the body of a client information response (RFC 7591 §3.2.1, RFC 7592 §3).

    :param issued_at: when the client was registered, in seconds since 1970.
    :param secret: the client secret if this request issued one, else ``None``.
    """
    settings = runtime.settings
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
        raise MissingToken("registration needs an initial access token here")


def _charge_registration(call: Call) -> None:
    limit = call.runtime.limits["registration_limit"]
    result = call.runtime.limiter.spend(f"register:{caller_network(call.address)}", limit, call.now)
    if not result.is_admitted:
        raise TooManyRequests("too many registrations from this network", retry_after=result.retry_after)


def _filter_scope(text: str, settings: Settings) -> str:
    """Return the requested scopes that this server has; unknown scopes are removed, as RFC 7591 §2 allows.

    :raises InvalidClientMetadata: if the requested scope is malformed, or this server has none of its scopes.
    """
    try:
        registered = parse_scope(text) & settings.known_scopes.keys()
    except InvalidScope as refusal:
        raise InvalidClientMetadata(refusal.description) from refusal
    if not registered:
        raise InvalidClientMetadata("scope contains none of this server's scopes")
    return format_scope(registered)
