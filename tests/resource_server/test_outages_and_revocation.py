"""Every process notices a revocation within a second; a store that is down causes a 503, never a 500."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.browser_client import Browser
from tests.support.clock import Clock
from valetkey import Valetkey
from valetkey.authorization_server.clients.service import disable_client, register_client
from valetkey.protocol.secret import INTERACTION, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, clients
from valetkey.storage.engine.transaction import StoreUnavailable


def robot_of(app: Flask) -> Browser:
    return Browser(
        app.test_client(),
        register_client(app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="Robot", policy="machine"),
    )


def jti_of(token: str) -> str:
    return str(json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["jti"])


def new_token(robot: Browser) -> str:
    return str(robot.request_token("client_credentials", scope="profile").json["access_token"])


@pytest.fixture
def two(make_app: MakeApp, store_url: str) -> tuple[Browser, Browser]:
    """One client, and two processes that share a store."""
    first, second = (make_app(store_url, access_token_lifetime=7200) for _ in range(2))
    robot = robot_of(first)
    return robot, Browser(second.test_client(), robot.client)


def test_another_process_refuses_a_revoked_token_within_a_second(two: tuple[Browser, Browser], clock: Clock) -> None:
    here, there = two
    token = new_token(here)
    assert there.call(token).status_code == 200

    here.revoke(token)

    assert here.call(token).status_code == 401, "the process that revoked it refuses it at once"
    clock.forward(seconds=0.6)
    assert there.call(token).status_code == 401


def test_a_revocation_that_is_committed_late_is_noticed_too(two: tuple[Browser, Browser], clock: Clock) -> None:
    """The row has the time before the commit, and the other process has read the feed since."""
    here, there = two
    token = new_token(here)
    clock.forward(seconds=10)
    assert there.call(token).status_code == 200
    runtime: Runtime = here.http.application.extensions["valetkey"]

    runtime.store.write_all(change_feed.add_token(jti_of(token), clock() + 1000))

    clock.forward(seconds=0.6)
    assert there.call(token).status_code == 401


def test_another_process_refuses_a_disabled_client_within_a_second(two: tuple[Browser, Browser], clock: Clock) -> None:
    here, there = two
    token = new_token(here)
    assert there.call(token).status_code == 200
    runtime: Runtime = here.http.application.extensions["valetkey"]
    client = clients.find(runtime.store, here.client.client_id, clock())
    assert client

    disable_client(runtime.store, client, runtime.clock())

    clock.forward(seconds=0.6)
    assert there.call(token).status_code == 401
    assert there.request_token("client_credentials").status_code == 401


def test_revoke_owner_revokes_all_tokens_of_the_owner(ada: Browser, app: Flask, clock: Clock) -> None:
    tokens = ada.obtain_tokens()

    Valetkey.revoke_owner(app, "ada")

    assert ada.call(tokens["access_token"]).status_code == 401
    clock.forward(seconds=2)
    assert ada.call(ada.obtain_tokens()["access_token"]).status_code == 200, "tokens that are issued later are valid"


def test_a_full_read_of_the_feed_after_an_hour_loses_no_revocation(two: tuple[Browser, Browser], clock: Clock) -> None:
    here, there = two
    token = new_token(here)
    here.revoke(token)
    for _ in range(3):
        clock.forward(seconds=1300)
        assert there.call(token).status_code == 401


def break_store(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> Any:
        raise StoreUnavailable("the database does not answer")

    monkeypatch.setattr(runtime.store, "fetch_all", down)
    monkeypatch.setattr(runtime.store, "write", down)


def test_calls_get_503_once_the_store_has_been_down_for_a_second(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(sqlite_store_url)
    robot = robot_of(app)
    token = new_token(robot)
    assert robot.call(token).status_code == 200
    break_store(app.extensions["valetkey"], monkeypatch)

    clock.forward(seconds=0.9)
    assert robot.call(token).status_code == 200, "what was read less than a second ago is used"
    clock.forward(seconds=0.2)
    refused = robot.call(token)

    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "2"
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert "WWW-Authenticate" not in refused.headers


def test_an_operator_can_choose_to_accept_tokens_while_the_store_is_down(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(sqlite_store_url, revocation_outage="accept")
    robot = robot_of(app)
    token = new_token(robot)
    robot.call(token)
    break_store(app.extensions["valetkey"], monkeypatch)

    clock.forward(seconds=60)
    assert robot.call(token).status_code == 200
    clock.forward(seconds=900)
    assert robot.call(token).status_code == 401, "expired tokens are refused all the same"


def test_every_endpoint_and_page_responds_503_while_the_store_is_down(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(sqlite_store_url)
    robot = robot_of(app)
    token = new_token(robot)
    robot.http.set_cookie("valetkey_session", "vk_ss_none")
    break_store(app.extensions["valetkey"], monkeypatch)
    clock.forward(seconds=120)

    responses = [
        robot.request_token("client_credentials"),
        robot.revoke(token),
        robot.introspect(token),
        robot.authorize(),
        robot.call(token),
        robot.get(f"/oauth/consent/{generate_secret(INTERACTION).reveal()}"),
    ]

    assert [response.status_code for response in responses] == [503] * 6
    assert {response.headers["Retry-After"] for response in responses} == {"2"}
    assert responses[0].json["error"] == "temporarily_unavailable"
    assert "database" not in "".join(response.text for response in responses)
