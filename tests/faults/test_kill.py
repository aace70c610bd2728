"""``kill -9`` in the middle of 200 token requests: what was answered is there, and nothing is half-written.

Shown once to fail where a claim and its rows are two transactions: 1 to 3 codes were used up for nothing.
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

# Each names rows that can only be there where one transaction was cut in two.
HALF_WRITTEN = {
    "a refresh token without its grant": """
        SELECT 1 FROM valetkey_refresh_tokens t LEFT JOIN valetkey_grants g ON g.grant_id = t.grant_id
        WHERE g.grant_id IS NULL""",
    "a code used up for nothing, or tokens for a code that is still good": """
        SELECT 1 FROM valetkey_codes c WHERE (c.consumed_at IS NOT NULL) <>
        (EXISTS (SELECT 1 FROM valetkey_refresh_tokens t WHERE t.grant_id = c.grant_id))""",
    "a used refresh token without its successor": """
        SELECT 1 FROM valetkey_refresh_tokens used WHERE used.used_at IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM valetkey_refresh_tokens t WHERE t.digest = used.successor AND t.parent = used.digest)""",
    "a successor of a refresh token that is still good": """
        SELECT 1 FROM valetkey_refresh_tokens t JOIN valetkey_refresh_tokens used ON used.digest = t.parent
        WHERE used.used_at IS NULL""",
    "a used refresh token without its retry answer": """
        SELECT 1 FROM valetkey_refresh_tokens used WHERE used.used_at IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM valetkey_retry_answers a WHERE a.digest = used.digest)""",
}


def test_what_was_answered_is_there_after_a_kill_and_nothing_is_half_written(
    deployment: Deployment, maya: User
) -> None:
    deployment = replace(deployment, settings={**deployment.settings, "refresh_retry_window": 60})
    deployment.run("resources", "update", deployment.issuer, "--token-format", "opaque")
    app = WebApp.register(deployment)
    machine = deployment.create_client("machine")
    robot = (machine["client_id"], machine["client_secret"])
    port = deployment.port
    with RunningServer(deployment) as server:
        refresh_tokens = [app.obtain_tokens(maya)["refresh_token"] for _ in range(67)]
        refreshes = [app.refresh_request(port, token) for token in refresh_tokens]
        redemptions = [app.redemption_request(port, app.obtain_code(maya)) for _ in range(67)]
        kinds = (redemptions, refreshes, [_credentials(port, robot)] * 67)
        requests = list(chain.from_iterable(zip(*kinds, strict=True)))[:200]
        answers = _kill_in_the_middle(server, requests)
    answered = [answer for answer in answers if answer is not None]
    assert {answer.status for answer in answered} == {200}
    assert 50 <= len(answered) < 200
    for what, query in HALF_WRITTEN.items():
        assert fetch_rows(str(deployment.settings["database_url"]), query) == [], what
    with RunningServer(deployment):
        _check_all_active(answered, app, robot, port)
        newest = [parse_token_response(answer).get("refresh_token") for answer in answered]
        again = [app.refresh_request(port, token) for token in newest if token]
        lost = [request for request, answer in zip(requests, answers, strict=True) if answer is None]
        again += [request for request in lost if request in refreshes]  # used or not, it gets its answer
        assert {answer.status for answer in send_together(again)} == {200}


def _kill_in_the_middle(server: RunningServer, requests: list[RawRequest]) -> list[RawResponse | None]:
    answers: list[RawResponse | None] = []
    with send_without_reading(requests) as connections:
        for connection in connections:
            if len(answers) == 60:
                server.kill()
            try:
                answers.append(read_response(connection))
            except OSError:
                answers.append(None)
    return answers


def _check_all_active(answered: list[RawResponse], app: WebApp, robot: tuple[str, str], port: int) -> None:
    asked = []
    for told in map(parse_token_response, answered):
        auth = app.auth if "refresh_token" in told else robot
        tokens = [told[kind] for kind in ("access_token", "refresh_token") if kind in told]
        asked += [post_request(port, "/oauth/introspect", [("token", token)], auth=auth) for token in tokens]
    assert [json.loads(answer.body)["active"] for answer in send_together(asked)] == [True] * len(asked)


def _credentials(port: int, auth: tuple[str, str]) -> RawRequest:
    """A token request of a client for itself (RFC 6749 §4.4.2)."""
    return post_request(port, "/oauth/token", [("grant_type", "client_credentials")], auth=auth)
