"""After ``kill -9`` during 200 token requests, all issued tokens are stored and no transaction is half-written.

The test failed once, on purpose, with a build that redeemed a code and stored its tokens in two transactions: 1 to 3
codes were used up without tokens.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain

from tests.support.concurrent_requests import (
    RawRequest,
    RawResponse,
    post_request,
    read_response,
    send_together,
    send_without_reading,
)
from tests.support.database import fetch_rows
from tests.support.user import User
from tests.support.valetkey_server import Deployment, RunningServer
from tests.support.web_app import WebApp, parse_token_response

# Each query finds rows that exist only if a part of a transaction was written.
HALF_WRITTEN = {
    "a refresh token without its grant": """
        SELECT 1 FROM valetkey_refresh_tokens t LEFT JOIN valetkey_grants g ON g.grant_id = t.grant_id
        WHERE g.grant_id IS NULL""",
    "a redeemed code without tokens, or tokens of a code that is not redeemed": """
        SELECT 1 FROM valetkey_codes c WHERE (c.consumed_at IS NOT NULL) <>
        (EXISTS (SELECT 1 FROM valetkey_refresh_tokens t WHERE t.grant_id = c.grant_id))""",
    "a used refresh token without its successor": """
        SELECT 1 FROM valetkey_refresh_tokens used WHERE used.used_at IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM valetkey_refresh_tokens t WHERE t.digest = used.successor AND t.parent = used.digest)""",
    "a successor of a refresh token that is not used": """
        SELECT 1 FROM valetkey_refresh_tokens t JOIN valetkey_refresh_tokens used ON used.digest = t.parent
        WHERE used.used_at IS NULL""",
    "a used refresh token without its stored response for retries": """
        SELECT 1 FROM valetkey_refresh_tokens used WHERE used.used_at IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM valetkey_retry_answers a WHERE a.digest = used.digest)""",
}


def test_a_kill_loses_no_issued_token_and_leaves_no_half_written_transaction(
    deployment: Deployment, maya: User
) -> None:
    deployment = replace(deployment, settings={**deployment.settings, "refresh_retry_window": 60})
    deployment.run("resources", "update", deployment.issuer, "--token-format", "opaque")
    app = WebApp.register(deployment)
    machine = deployment.create_client("machine")
    machine_auth = (machine["client_id"], machine["client_secret"])
    port = deployment.port
    with RunningServer(deployment) as server:
        refresh_tokens = [app.obtain_tokens(maya)["refresh_token"] for _ in range(67)]
        refreshes = [app.refresh_request(port, token) for token in refresh_tokens]
        redemptions = [app.redemption_request(port, app.obtain_code(maya)) for _ in range(67)]
        kinds = (redemptions, refreshes, [_client_credentials_request(port, machine_auth)] * 67)
        requests = list(chain.from_iterable(zip(*kinds, strict=True)))[:200]
        results = _kill_after_60_responses(server, requests)
    responses = [response for response in results if response is not None]
    assert {response.status for response in responses} == {200}
    assert 50 <= len(responses) < 200
    for description, query in HALF_WRITTEN.items():
        assert fetch_rows(str(deployment.settings["database_url"]), query) == [], description
    with RunningServer(deployment):
        _check_all_active(responses, app, machine_auth, port)
        new_tokens = [parse_token_response(response).get("refresh_token") for response in responses]
        retries = [app.refresh_request(port, token) for token in new_tokens if token]
        lost = [request for request, response in zip(requests, results, strict=True) if response is None]
        retries += [request for request in lost if request in refreshes]  # succeed whether the token was used or not
        assert {response.status for response in send_together(retries)} == {200}


def _kill_after_60_responses(server: RunningServer, requests: list[RawRequest]) -> list[RawResponse | None]:
    """Send 59 requests, then all others together, and kill the server when the first response to those is read.

    Return a response for each request, or ``None`` if its connection ended without one.
    """
    responses: list[RawResponse | None] = [*send_together(requests[:59])]
    with send_without_reading(requests[59:]) as connections:
        for connection in connections:
            if len(responses) == 60:
                server.kill()
            try:
                responses.append(read_response(connection))
            except OSError:
                responses.append(None)
    return responses


def _check_all_active(responses: list[RawResponse], app: WebApp, machine_auth: tuple[str, str], port: int) -> None:
    """Introspect the tokens of all token responses. Each must be active."""
    requests = []
    for issued in map(parse_token_response, responses):
        auth = app.auth if "refresh_token" in issued else machine_auth
        tokens = [issued[member] for member in ("access_token", "refresh_token") if member in issued]
        requests += [post_request(port, "/oauth/introspect", [("token", token)], auth=auth) for token in tokens]
    assert [json.loads(response.body)["active"] for response in send_together(requests)] == [True] * len(requests)


def _client_credentials_request(port: int, auth: tuple[str, str]) -> RawRequest:
    """Return a token request with the client credentials grant (RFC 6749 §4.4.2)."""
    return post_request(port, "/oauth/token", [("grant_type", "client_credentials")], auth=auth)
