"""Endpoints with which a client lists, creates and revokes a user's personal access tokens (Valetkey's own extension).

A personal access token created here never has more rights than the access token of the request: its scope is a subset,
it is revoked together with the client's grant, and it cannot call these endpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from valetkey.endpoint import Call, MachineResponse, json_response
from valetkey.protocol import bearer
from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID, AccessToken
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.client_members import to_error_description
from valetkey.protocol.display_name import display_name_problem
from valetkey.protocol.errors import (
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidRequest,
    InvalidScope,
    InvalidToken,
    NotFound,
)
from valetkey.protocol.json_encoding import encode_json
from valetkey.protocol.refusal import JSON_HEADERS
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import parse_scope
from valetkey.storage import personal_access_tokens
from valetkey.storage.personal_access_tokens import PersonalToken

from .service import (
    MAX_AUTH_AGE_S,
    TokenSpec,
    create_personal_token,
    find_owned_token,
    revoke_personal_token,
    token_state,
)


def list_or_create_personal_tokens(call: Call) -> MachineResponse:
    """List the user's personal access tokens without their values (GET), or create one and return it (POST)."""
    handlers: dict[str, Callable[[Call, AccessToken], MachineResponse]] = {"GET": _list_tokens, "POST": _create_token}
    return handlers[call.method](call, _check_caller(call))


def delete_personal_token(call: Call) -> MachineResponse:
    """Revoke one of the user's personal access tokens (DELETE).

    Return status 204, also if the token was expired or revoked already.

    :raises NotFound: if the user has no personal access token with this id.
    """
    caller = _check_caller(call)
    token = find_owned_token(call.path_parameters["token_id"], caller.user_id or "", call.runtime.store)
    if token is None:
        raise NotFound("this user has no such token")
    revoke_personal_token(token, call.runtime.store, call.now, call.address)
    return MachineResponse(204, b"", (("Cache-Control", "no-store"),))


def _check_caller(call: Call) -> AccessToken:
    """Return the access token of the request after checking that it may manage its user's personal access tokens.

    :raises NotFound: if ``personal_access_token_api_scope`` or ``personal_access_tokens_path`` is not set.
    :raises MissingToken: if the request has no access token.
    :raises InvalidToken: if the token is not valid here, or belongs to no user (RFC 6750 §3.1).
    :raises InsufficientScope: if the token lacks that scope, or is itself a personal access token.
    """
    runtime, scope = call.runtime, call.runtime.settings.personal_access_token_api_scope
    if scope is None or runtime.settings.tokens_path is None:
        raise NotFound("this server does not let clients manage personal access tokens")
    value = bearer.parse_bearer_token(call.authorization)
    if value is None:
        raise MissingToken("an access token is required")
    token = call.verify_token(value)
    if runtime.settings.issuer not in token.audience:
        raise InvalidToken("the access token is for another resource")
    if token.client_id == PERSONAL_TOKEN_CLIENT_ID or scope not in token.scopes:
        raise InsufficientScope(
            "managing personal access tokens requires another scope", challenge_parameters={"scope": scope}
        )
    if token.user_id is None:
        raise InvalidToken("the access token does not belong to a user")
    if runtime.clients.find(token.client_id, call.now) is None or runtime.owners.find(token.user_id) is None:
        raise InvalidToken(
            "the access token was revoked", log_detail="client or resource owner was removed or disabled"
        )
    return token


def _list_tokens(call: Call, caller: AccessToken) -> MachineResponse:
    tokens = personal_access_tokens.list_by_owner(call.runtime.store, caller.user_id or "")
    return json_response({"tokens": [serialize_token(token, call.now) for token in tokens]})


def _create_token(call: Call, caller: AccessToken) -> MachineResponse:
    _check_auth_age(caller, call.now, may_be_unknown=not call.runtime.has_built_in_accounts)
    created = create_personal_token(
        _read_token_spec(call, caller),
        Owner(caller.user_id or ""),
        call.runtime,
        call.now,
        call.address,
        client_id=caller.client_id,
    )
    body = {**serialize_token(created.token, call.now), "token": created.secret.reveal()}
    return MachineResponse(201, encode_json(body), JSON_HEADERS)


def _check_auth_age(caller: AccessToken, now: float, *, may_be_unknown: bool) -> None:
    """Check that the user signed in within the last hour, as the page for personal access tokens does.

    Otherwise a stolen access token or an unattended session could be used to create tokens.

    :param caller: the access token of the request.
    :param may_be_unknown: whether an unknown time is accepted: that of a host app which does not report when its users
        sign in, and not that of a provider such as Google.
    :raises InsufficientUserAuthentication: if the sign-in is older than ``MAX_AUTH_AGE_S`` (RFC 9470 §3).
    """
    is_recent = may_be_unknown if caller.auth_time is None else now - caller.auth_time <= MAX_AUTH_AGE_S
    if not is_recent:
        raise InsufficientUserAuthentication(
            "a more recent sign-in is required", challenge_parameters={"max_age": str(MAX_AUTH_AGE_S)}
        )


def _read_token_spec(call: Call, caller: AccessToken) -> TokenSpec:
    name, scope, expires_in = (call.json_body.get(member) for member in ("name", "scope", "expires_in"))
    if not isinstance(name, str) or not isinstance(scope, str):
        raise InvalidRequest("name and scope must be strings")
    if problem := display_name_problem(name):
        raise InvalidRequest(to_error_description(f"the name {problem}"))
    if not isinstance(expires_in, int) or isinstance(expires_in, bool) or not 0 < expires_in < 10**10:
        raise InvalidRequest("expires_in must be a positive number of seconds")
    requested = parse_scope(scope)
    if not requested <= caller.scopes:
        raise InvalidScope("the scope exceeds that of the access token")
    return TokenSpec(name, requested, call.now + expires_in, grant_id=caller.grant_id)


def serialize_token(token: PersonalToken, now: float) -> dict[str, Any]:
    """Return the JSON representation of a personal access token, without its value; times in seconds since 1970."""
    return {
        "id": token.token_id,
        "name": token.name,
        "prefix": token.prefix,
        "scope": token.scope,
        "created_at": int(token.created_at),
        "expires_at": int(token.expires_at),
        "last_used_at": None if token.last_used_at is None else int(token.last_used_at),
        "state": token_state(token, now),
    }
