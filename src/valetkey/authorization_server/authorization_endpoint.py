"""The authorization endpoint's checks (RFC 6749 §4.1.1), in two stages.

Until the target is checked, a refusal is shown to the person and never redirected (§4.1.2.1). After that every
refusal goes to the target.
"""

from __future__ import annotations

from collections.abc import Sequence

from valetkey.protocol import pkce
from valetkey.protocol.errors import InvalidRequest, UnauthorizedClient, UnsupportedResponseType
from valetkey.protocol.parameters import Parameters, each_once
from valetkey.protocol.uri import redirect_uri_matches
from valetkey.runtime import Runtime
from valetkey.storage.clients import Client

from .authorization_request import AuthorizationRequest, CheckedTarget
from .target import check_scope, fit_scope, read_resources

_LONGEST_STATE = 2048
Pairs = Sequence[tuple[str, str]]


def check_target(pairs: Pairs, runtime: Runtime, now: float) -> CheckedTarget:
    """The client and redirect URI of a request.

    :raises InvalidRequest: for the person to read: nothing may be redirected to.
    """
    client = _find_client(_only(pairs, "client_id"), runtime, now)
    sent = _only(pairs, "redirect_uri")
    redirect_uri = _check_redirect_uri(sent, client)
    states = [value for name, value in pairs if name == "state" and value]
    state = states[0] if len(states) == 1 else None
    return CheckedTarget(client, redirect_uri, sent is not None, state, runtime.settings.issuer)


def check_request(pairs: Pairs, target: CheckedTarget, runtime: Runtime) -> AuthorizationRequest:
    """The rest of the request.

    :raises OAuthError: a refusal that goes to the target.
    """
    parameters = each_once(pairs)
    _check_response_type(parameters, target.client)
    _check_response_mode(parameters)
    _check_state(parameters)
    challenge = pkce.read_challenge(parameters, required=True)
    scope = check_scope(parameters.get("scope"), target.client, runtime)
    resources = read_resources(parameters, runtime, target.client)
    return AuthorizationRequest(
        client_id=target.client.client_id,
        redirect_uri=target.redirect_uri,
        redirect_uri_sent=target.redirect_uri_sent,
        state=target.state,
        scope=tuple(sorted(fit_scope(scope, resources, runtime))),
        resources=resources,
        code_challenge=challenge,
    )


def reopen(request: AuthorizationRequest, runtime: Runtime, now: float) -> CheckedTarget:
    """The target of a request that was checked before.

    :raises InvalidRequest: where the client changed since, so that it would not pass now.
    """
    client = _find_client(request.client_id, runtime, now)
    redirect_uri = _check_redirect_uri(request.redirect_uri, client)
    return CheckedTarget(client, redirect_uri, request.redirect_uri_sent, request.state, runtime.settings.issuer)


def _find_client(client_id: str | None, runtime: Runtime, now: float) -> Client:
    if client_id is None:
        raise InvalidRequest("The app did not say which app it is (client_id is missing).")
    client = runtime.clients.find(client_id, now)
    if client is None:
        raise InvalidRequest("This app is not known here, or was put out of service.", detail="unknown client_id")
    return client


def _check_redirect_uri(sent: str | None, client: Client) -> str:
    if sent is None:
        if len(client.redirect_uris) != 1:  # RFC 6749 §3.1.2.3
            raise InvalidRequest("The app did not say where to return to (redirect_uri is missing).")
        return client.redirect_uris[0]
    if not redirect_uri_matches(sent, client.redirect_uris, native=client.policy.native):  # RFC 9700 §2.1
        raise InvalidRequest("The app asked to return to an address that it did not register (redirect_uri).")
    return sent


def _check_response_type(parameters: Parameters, client: Client) -> None:
    if parameters.required("response_type") != "code":
        raise UnsupportedResponseType("only response_type=code is served")
    if "authorization_code" not in client.grant_types:
        raise UnauthorizedClient("the client may not use the authorization code grant")


def _check_response_mode(parameters: Parameters) -> None:
    if parameters.get("response_mode") not in {None, "query"}:
        raise InvalidRequest("only response_mode=query is served")


def _check_state(parameters: Parameters) -> None:
    if len(parameters.get("state") or "") > _LONGEST_STATE:
        raise InvalidRequest("state is longer than 2048 characters")


def _only(pairs: Pairs, name: str) -> str | None:
    values = [value for key, value in pairs if key == name and value]
    if len(values) > 1:
        raise InvalidRequest(f"The app sent {name} more than once.")
    return values[0] if values else None
