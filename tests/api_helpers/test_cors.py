"""Browsers may call the API from where registered apps are, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, jsonify

from tests.conftest import MakeApp
from tests.support.browser_client import Browser, Clock
from valetkey import public
from valetkey.api_helpers import use_cors
from valetkey.authorization_server.clients.service import disable_client, register_client
from valetkey.caches.origins import origins_of
from valetkey.runtime import Runtime
from valetkey.settings import Settings, SettingsError
from valetkey.storage import clients
from valetkey.storage.engine.transaction import StoreUnavailable

APP, STRANGER = "https://app.example", "https://stranger.example"
ASKS = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,x-own"}


def add_app(app: Flask, origin: str = APP, policy: str = "browser") -> str:
    runtime: Runtime = app.extensions["valetkey"]
    uris = [f"{origin}/back", f"{origin}/other?a=b"]
    return register_client(runtime, name="App", policy=policy, redirect_uris=uris).client_id


def allowed(app: Flask, origin: str = APP, path: str = "/api/public") -> str | None:
    return app.test_client().get(path, headers={"Origin": origin}).headers.get("Access-Control-Allow-Origin")


def test_a_registered_app_may_read_answers_and_what_matters_in_their_headers(app: Flask) -> None:
    add_app(app)

    answer = app.test_client().get("/api/public", headers={"Origin": APP})

    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in answer.headers["Vary"]
    exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    wanted = {"RateLimit", "WWW-Authenticate", "Link", "ETag", "Request-Id", "Retry-After", "Location"}
    assert wanted <= exposed


def test_refusals_and_errors_can_be_read_too(app: Flask) -> None:
    add_app(app)

    for path, status in (("/api/protected", 401), ("/api/nowhere", 404)):
        refused = app.test_client().get(path, headers={"Origin": APP})
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (status, APP)


@pytest.mark.parametrize("origin", [STRANGER, "null", "https://app.example:444", "http://app.example", f"{APP}/", ""])
def test_nobody_else_may(app: Flask, origin: str) -> None:
    add_app(app)

    assert allowed(app, origin) is None
    preflight = app.test_client().options("/api/protected", headers={"Origin": origin, **ASKS})
    assert preflight.status_code == 204
    assert "Access-Control-Allow-Origin" not in preflight.headers


def test_an_answer_without_origin_still_varies_by_it(app: Flask) -> None:
    assert "Origin" in app.test_client().get("/api/public").headers["Vary"]


def test_a_preflight_needs_no_token_and_passes_the_hosts_hooks(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    app.before_request(lambda: ("sign in first", 403))
    app.add_url_rule("/api/protected", "change", lambda: "", methods=["PUT"])
    add_app(app)

    preflight = app.test_client().options("/api/protected", headers={"Origin": APP, **ASKS})

    assert (preflight.status_code, preflight.data) == (204, b"")
    assert preflight.headers["Access-Control-Allow-Origin"] == APP
    assert {"GET", "PUT"} <= set(preflight.headers["Access-Control-Allow-Methods"].split(", "))
    assert preflight.headers["Access-Control-Allow-Headers"] == "authorization,x-own"
    assert "Access-Control-Allow-Credentials" not in preflight.headers


def test_headers_that_are_no_names_are_not_repeated(app: Flask) -> None:
    add_app(app)
    odd = {**ASKS, "Access-Control-Request-Headers": "x;y"}

    preflight = app.test_client().options("/api/protected", headers={"Origin": APP, **odd})

    assert preflight.headers["Access-Control-Allow-Headers"].startswith("Authorization, ")


def test_outside_the_api_nothing_is_said(app: Flask) -> None:
    app.add_url_rule("/page", "page", lambda: "x")
    add_app(app)

    assert allowed(app, path="/page") is None
    assert (
        "Access-Control-Allow-Origin" not in app.test_client().options("/page", headers={"Origin": APP, **ASKS}).headers
    )


def test_only_apps_in_browsers_count(app: Flask) -> None:
    add_app(app, policy="web")

    assert allowed(app) is None


def test_every_process_knows_a_new_app_within_a_second_and_a_disabled_one_no_more(
    make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    here, there = (make_app(store_url) for _ in range(2))
    assert (allowed(here), allowed(there)) == (None, None)

    client_id = add_app(here)
    clock.forward(0.6)
    assert (allowed(here), allowed(there)) == (APP, APP)

    runtime: Runtime = here.extensions["valetkey"]
    client = clients.find(runtime.store, client_id, clock())
    assert client
    disable_client(runtime, client)
    clock.forward(0.6)
    assert (allowed(here), allowed(there)) == (None, None)


def test_an_app_that_registers_itself_is_known_too(app: Flask, clock: Clock) -> None:
    assert allowed(app) is None
    members = {"redirect_uris": [f"{APP}/back"], "token_endpoint_auth_method": "none", "application_type": "web"}
    made = app.test_client().post("/oauth/register", json=members)
    assert made.status_code == 201, made.text
    policy = clients.find(app.extensions["valetkey"].store, made.json["client_id"], clock()).policy.name  # type: ignore[union-attr]

    clock.forward(0.6)

    assert allowed(app) == (APP if policy == "browser" else None)


def test_a_process_that_slept_through_the_feed_reads_everything_again(
    make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    from valetkey.outbound.worker import prune

    here, there = (make_app(store_url) for _ in range(2))
    assert allowed(there) is None
    add_app(here)
    clock.forward(7200)
    prune(here.extensions["valetkey"].store, clock())

    assert allowed(there) == APP


def test_origins_cost_no_statement_per_call(app: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    add_app(app)
    app.add_url_rule("/api/free", "free", public(lambda: jsonify()))
    allowed(app)
    asked: list[Any] = []
    runtime: Runtime = app.extensions["valetkey"]
    real = runtime.store.fetch_all
    monkeypatch.setattr(runtime.store, "fetch_all", lambda bound: asked.append(bound) or real(bound))

    for number in range(50):
        allowed(app, f"https://unknown-{number}.example", "/api/free")

    assert asked == []


def test_while_the_store_is_down_calls_go_on(app: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    app.add_url_rule("/api/free", "free", public(lambda: jsonify()))
    app.test_client().get("/api/free")

    def down(*_: Any) -> Any:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(app.extensions["valetkey"].store, "fetch_all", down)
    clock.forward(5)

    assert allowed(app, path="/api/free") is None


def test_a_setting_lets_all_in_or_turns_it_off(make_app: MakeApp, sqlite_store_url: str) -> None:
    everybody, nobody = (make_app(sqlite_store_url, cors=chosen) for chosen in ("any", "off"))

    assert allowed(everybody, STRANGER) == "*"
    assert allowed(nobody, STRANGER) is None
    with pytest.raises(SettingsError, match="cors must be"):
        Settings(cors="some")


def test_an_app_reads_its_answer_with_its_token(app: Flask, ada: Browser) -> None:
    add_app(app)
    token = ada.obtain_tokens()["access_token"]

    headers = {"Authorization": f"Bearer {token}", "Origin": APP}
    answer = ada.http.get("/api/protected", headers=headers)

    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, APP)


def test_headers_of_the_hosts_own_cors_stay(app: Flask) -> None:
    add_app(app)
    app.add_url_rule("/api/own", "own", public(lambda: ("", 200, {"Access-Control-Allow-Origin": "https://mine"})))

    assert allowed(app, path="/api/own") == "https://mine"


def test_it_works_alone() -> None:
    app = Flask("plain")
    use_cors(app, "/v1", [APP])
    app.add_url_rule("/v1/one", "one", lambda: "x")

    assert (allowed(app, APP, "/v1/one"), allowed(app, STRANGER, "/v1/one")) == (APP, None)


def test_the_prefix_itself_belongs_to_what_is_below_it() -> None:
    app = Flask("plain")
    use_cors(app, "/v1", [APP])
    app.add_url_rule("/v1", "root", lambda: "x")

    assert allowed(app, APP, "/v1") == APP


@pytest.mark.parametrize("wrong", [APP, "*", ["*"], [f"{APP}/"], [f"{APP}/path"], ["APP.example"], ["null"]])
def test_what_no_browser_sends_as_its_origin_is_told_where_it_stands(wrong: Any) -> None:
    with pytest.raises(ValueError, match="origin"):
        use_cors(Flask("plain"), "/v1", wrong)


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://a.example/x?y", {"https://a.example"}),
        ("https://A.example:443/", {"https://a.example"}),
        ("http://127.0.0.1:5000/", {"http://127.0.0.1:5000"}),
        ("http://[::1]:80/", {"http://[::1]"}),
        ("com.example.app:/back", set()),
    ],
)
def test_an_origin_is_written_as_browsers_do(uri: str, origin: set[str]) -> None:
    assert origins_of((uri,)) == origin
