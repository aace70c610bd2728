"""The log contains no secret, after successful requests, refusals and an outage."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.support.concurrent_requests import post_request, send_together
from tests.support.postgres import PostgreSQLServer
from tests.support.user import EMAIL, PASSWORD, User
from tests.support.valetkey_server import LIMITED_API_FILE, Deployment, RunningServer
from tests.support.web_app import WebApp, parse_token_response

WRONG_PASSWORD, WRONG_SECRET = "a green tram in may", "a-secret-that-is-wrong"
VALETKEY_SECRETS = re.compile(r"vk_[a-z]+_\w+")
JWT = re.compile(r"eyJ[\w-]+\.")


def test_no_secret_is_logged_for_successful_requests_refusals_and_an_outage(
    tmp_path: Path, disposable_postgresql: PostgreSQLServer
) -> None:
    deployment = Deployment(
        tmp_path, app=LIMITED_API_FILE, settings={"database_url": disposable_postgresql.create_database()}
    )
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    app = WebApp.register(deployment)
    with RunningServer(deployment) as server, User(EMAIL, PASSWORD) as maya:
        _send_valid_and_refused_requests(server, app, maya)
        disposable_postgresql.stop()
        _send_requests_during_the_outage(server, app, maya)
        log = server.log
    for reason in ("invalid_grant", "invalid_client", "invalid_token", "invalid_request", "PostgreSQL"):
        assert reason in log, f"the log does not mention {reason}"
    assert "Traceback" not in log
    for secret in (PASSWORD, WRONG_PASSWORD, WRONG_SECRET, app.client_secret, *maya.cookies.values()):
        assert secret not in log
    assert VALETKEY_SECRETS.findall(log) == []
    assert JWT.findall(log) == []


def _send_valid_and_refused_requests(server: RunningServer, app: WebApp, maya: User) -> None:
    """Send the requests of a code flow and of API calls, and requests that are refused for most reasons."""
    with User(EMAIL, WRONG_PASSWORD) as thief, pytest.raises(AssertionError, match="400"):
        thief.allow(app.authorization_url())
    maya.allow(app.authorization_url().replace("scope=profile", "scope=profile+unknown"))
    code = app.obtain_code(maya)
    wrong_request = WebApp(app.deployment, app.client_id, WRONG_SECRET).redemption_request(server.port, code)
    redeemed, unauthenticated = send_together([app.redemption_request(server.port, code), wrong_request])
    tokens = parse_token_response(redeemed)
    [refreshed] = send_together([app.refresh_request(server.port, tokens["refresh_token"])])
    refresh_token = parse_token_response(refreshed)["refresh_token"]
    reuses = [app.refresh_request(server.port, refresh_token), app.redemption_request(server.port, code)]
    reuses += [app.refresh_request(server.port, refresh_token), app.refresh_request(server.port, refresh_token + "x")]
    statuses = [send_together([request])[0].status for request in reuses]
    assert (unauthenticated.status, statuses) == (401, [200, 400, 400, 400])
    _call(server, tokens["access_token"])
    _call(server, tokens["access_token"] + "x")
    httpx.get(f"{server.url}/api/protected?access_token={tokens['access_token']}")
    send_together([post_request(server.port, "/oauth/revoke", [("token", refresh_token)] * 2, auth=app.auth)])


def _send_requests_during_the_outage(server: RunningServer, app: WebApp, maya: User) -> None:
    """Send a request of each kind while the database is down."""
    send_together(
        [
            app.refresh_request(server.port, "vk_rt_" + "x" * 50),
            app.redemption_request(server.port, "vk_ac_" + "x" * 50),
        ]
    )
    send_together([post_request(server.port, "/oauth/introspect", [("token", "vk_rt_" + "x" * 50)], auth=app.auth)])
    maya.get_page(app.authorization_url())
    maya.get_page(f"{server.url}/oauth/consent/vk_in_{'x' * 50}")
    _call(server, "vk_at_" + "x" * 50)


def _call(server: RunningServer, token: str) -> None:
    httpx.get(f"{server.url}/api/protected", headers={"Authorization": f"Bearer {token}"}, timeout=15)
