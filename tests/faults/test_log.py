"""No secret in the log, whatever went well or badly."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.faults.conftest import EMAIL, PASSWORD
from tests.interop.person import Person
from tests.races.conftest import API
from tests.races.crowd import at_once, post
from tests.races.web_app import WebApp, tokens_in
from tests.support.postgres import PostgreSQL
from tests.support.valetkey_server import Deployment, RunningServer

WRONG_PASSWORD, WRONG_SECRET = "a green tram in may", "a-secret-that-is-wrong"
OUR_SECRETS = re.compile(r"vk_[a-z]+_\w+")
JWT = re.compile(r"eyJ[\w-]+\.")


def test_no_secret_is_logged_on_a_journey_with_refusals_and_an_outage(tmp_path: Path, outage: PostgreSQL) -> None:
    deployment = Deployment(tmp_path, app=API, settings={"database_url": outage.database()})
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    app = WebApp.register(deployment)
    with RunningServer(deployment) as server, Person(EMAIL, PASSWORD) as maya:
        _walk(server, app, maya)
        outage.stop()
        _walk_in_vain(server, app, maya)
        log = server.log
    for reason in ("invalid_grant", "invalid_client", "invalid_token", "invalid_request", "PostgreSQL"):
        assert reason in log, f"the operator is not told of {reason}"
    assert "Traceback" not in log
    for secret in (PASSWORD, WRONG_PASSWORD, WRONG_SECRET, app.client_secret, *maya.cookies.values()):
        assert secret not in log
    assert OUR_SECRETS.findall(log) == []
    assert JWT.findall(log) == []


def _walk(server: RunningServer, app: WebApp, maya: Person) -> None:
    """What an app and a person do, and most of what is refused them."""
    with Person(EMAIL, WRONG_PASSWORD) as thief, pytest.raises(AssertionError, match="400"):
        thief.allow(app.authorization_url())
    maya.allow(app.authorization_url().replace("scope=profile", "scope=profile+unknown"))
    code = app.code(maya)
    refused = WebApp(app.deployment, app.client_id, WRONG_SECRET).redemption(server.port, code)
    first, wrong = at_once([app.redemption(server.port, code), refused])
    tokens = tokens_in(first)
    [refreshed] = at_once([app.refresh(server.port, tokens["refresh_token"])])
    newest = tokens_in(refreshed)["refresh_token"]
    thefts = [app.refresh(server.port, newest), app.redemption(server.port, code)]
    thefts += [app.refresh(server.port, newest), app.refresh(server.port, newest + "x")]
    statuses = [at_once([theft])[0].status for theft in thefts]
    assert (wrong.status, statuses) == (401, [200, 400, 400, 400])
    _call(server, tokens["access_token"])
    _call(server, tokens["access_token"] + "x")
    httpx.get(f"{server.url}/api/protected?access_token={tokens['access_token']}")
    at_once([post(server.port, "/oauth/revoke", [("token", newest)] * 2, auth=app.auth)])


def _walk_in_vain(server: RunningServer, app: WebApp, maya: Person) -> None:
    """The same while the database is down."""
    at_once([app.refresh(server.port, "vk_rt_" + "x" * 50), app.redemption(server.port, "vk_ac_" + "x" * 50)])
    at_once([post(server.port, "/oauth/introspect", [("token", "vk_rt_" + "x" * 50)], auth=app.auth)])
    maya.read(app.authorization_url())
    maya.read(f"{server.url}/oauth/consent/vk_in_{'x' * 50}")
    _call(server, "vk_at_" + "x" * 50)


def _call(server: RunningServer, token: str) -> None:
    httpx.get(f"{server.url}/api/protected", headers={"Authorization": f"Bearer {token}"}, timeout=15)
