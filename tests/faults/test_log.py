"""No secret in the log, whatever went well or badly."""

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
OUR_SECRETS = re.compile(r"vk_[a-z]+_\w+")
JWT = re.compile(r"eyJ[\w-]+\.")


def test_no_secret_is_logged_on_a_journey_with_refusals_and_an_outage(
    tmp_path: Path, disposable_postgresql: PostgreSQLServer
) -> None:
    deployment = Deployment(
        tmp_path, app=LIMITED_API_FILE, settings={"database_url": disposable_postgresql.create_database()}
    )
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    app = WebApp.register(deployment)
    with RunningServer(deployment) as server, User(EMAIL, PASSWORD) as maya:
        _walk(server, app, maya)
        disposable_postgresql.stop()
        _walk_in_vain(server, app, maya)
        log = server.log
    for reason in ("invalid_grant", "invalid_client", "invalid_token", "invalid_request", "PostgreSQL"):
        assert reason in log, f"the operator is not told of {reason}"
    assert "Traceback" not in log
    for secret in (PASSWORD, WRONG_PASSWORD, WRONG_SECRET, app.client_secret, *maya.cookies.values()):
        assert secret not in log
    assert OUR_SECRETS.findall(log) == []
    assert JWT.findall(log) == []


def _walk(server: RunningServer, app: WebApp, maya: User) -> None:
    """What an app and a person do, and most of what is refused them."""
    with User(EMAIL, WRONG_PASSWORD) as thief, pytest.raises(AssertionError, match="400"):
        thief.allow(app.authorization_url())
    maya.allow(app.authorization_url().replace("scope=profile", "scope=profile+unknown"))
    code = app.obtain_code(maya)
    refused = WebApp(app.deployment, app.client_id, WRONG_SECRET).redemption_request(server.port, code)
    first, wrong = send_together([app.redemption_request(server.port, code), refused])
    tokens = parse_token_response(first)
    [refreshed] = send_together([app.refresh_request(server.port, tokens["refresh_token"])])
    newest = parse_token_response(refreshed)["refresh_token"]
    thefts = [app.refresh_request(server.port, newest), app.redemption_request(server.port, code)]
    thefts += [app.refresh_request(server.port, newest), app.refresh_request(server.port, newest + "x")]
    statuses = [send_together([theft])[0].status for theft in thefts]
    assert (wrong.status, statuses) == (401, [200, 400, 400, 400])
    _call(server, tokens["access_token"])
    _call(server, tokens["access_token"] + "x")
    httpx.get(f"{server.url}/api/protected?access_token={tokens['access_token']}")
    send_together([post_request(server.port, "/oauth/revoke", [("token", newest)] * 2, auth=app.auth)])


def _walk_in_vain(server: RunningServer, app: WebApp, maya: User) -> None:
    """The same while the database is down."""
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
