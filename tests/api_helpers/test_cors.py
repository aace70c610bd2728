"""CORS: browsers may call the API from the origins of registered browser apps, and from no other origin."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, jsonify

from tests.support.app import MakeApp
from tests.support.browser_client import Browser
from tests.support.clock import Clock
from valetkey import public
from valetkey.api_helpers import use_cors
from valetkey.authorization_server.clients.service import disable_client, register_client
from valetkey.caches.origins import origins_of
from valetkey.runtime import Runtime
from valetkey.settings import Settings, SettingsError
from valetkey.storage import clients
from valetkey.storage.engine.transaction import StoreUnavailable

APP, STRANGER = "https://app.example", "https://stranger.example"
PREFLIGHT = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,x-own"}


def add_app(app: Flask, origin: str = APP, policy: str = "browser") -> str:
    runtime: Runtime = app.extensions["valetkey"]
    uris = [f"{origin}/back", f"{origin}/other?a=b"]
    return register_client(runtime, runtime.clock(), name="App", policy=policy, redirect_uris=uris).client_id


def allowed_origin(app: Flask, origin: str = APP, path: str = "/api/public") -> str | None:
    return app.test_client().get(path, headers={"Origin": origin}).headers.get("Access-Control-Allow-Origin")


def test_a_registered_app_may_read_responses_and_their_important_headers(app: Flask) -> None:
    add_app(app)

    response = app.test_client().get("/api/public", headers={"Origin": APP})

    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "Origin" in response.headers["Vary"]
    exposed = {name.strip() for name in response.headers["Access-Control-Expose-Headers"].split(",")}
    expected = {"RateLimit", "WWW-Authenticate", "Link", "ETag", "Request-Id", "Retry-After", "Location"}
    assert expected <= exposed


def test_a_registered_app_may_read_error_responses(app: Flask) -> None:
    add_app(app)

    for path, status in (("/api/protected", 401), ("/api/nowhere", 404)):
        refused = app.test_client().get(path, headers={"Origin": APP})
        assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (status, APP)


@pytest.mark.parametrize("origin", [STRANGER, "null", "https://app.example:444", "http://app.example", f"{APP}/", ""])
def test_unregistered_origins_are_not_allowed(app: Flask, origin: str) -> None:
    add_app(app)

    assert allowed_origin(app, origin) is None
    preflight = app.test_client().options("/api/protected", headers={"Origin": origin, **PREFLIGHT})
    assert "Access-Control-Allow-Origin" not in preflight.headers


def test_a_response_to_a_request_without_origin_varies_by_origin(app: Flask) -> None:
    assert "Origin" in app.test_client().get("/api/public").headers["Vary"]


def test_a_preflight_needs_no_token_and_skips_the_hosts_hooks(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    app.before_request(lambda: ("sign in first", 403))
    app.add_url_rule("/api/protected", "change", lambda: "", methods=["PUT"])
    add_app(app)

    preflight = app.test_client().options("/api/protected", headers={"Origin": APP, **PREFLIGHT})

    assert (preflight.status_code, preflight.data) == (204, b"")
    assert preflight.headers["Access-Control-Allow-Origin"] == APP
    assert {"GET", "PUT"} <= set(preflight.headers["Access-Control-Allow-Methods"].split(", "))
    assert preflight.headers["Access-Control-Allow-Headers"] == "authorization,x-own"
    assert "Access-Control-Allow-Credentials" not in preflight.headers


def test_malformed_requested_headers_are_not_echoed(app: Flask) -> None:
    add_app(app)
    malformed = {**PREFLIGHT, "Access-Control-Request-Headers": "x;y"}

    preflight = app.test_client().options("/api/protected", headers={"Origin": APP, **malformed})

    assert preflight.headers["Access-Control-Allow-Headers"].startswith("Authorization, ")


def test_responses_outside_the_api_have_no_cors_headers(app: Flask) -> None:
    app.add_url_rule("/page", "page", lambda: "x")
    add_app(app)

    assert allowed_origin(app, path="/page") is None
    assert (
        "Access-Control-Allow-Origin"
        not in app.test_client().options("/page", headers={"Origin": APP, **PREFLIGHT}).headers
    )


def test_the_origins_of_apps_with_another_policy_are_not_allowed(app: Flask) -> None:
    add_app(app, policy="web")

    assert allowed_origin(app) is None


def test_every_process_allows_a_new_app_and_refuses_a_disabled_app_within_a_second(
    make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    here, there = (make_app(store_url) for _ in range(2))
    assert (allowed_origin(here), allowed_origin(there)) == (None, None)

    client_id = add_app(here)
    clock.forward(0.6)
    assert (allowed_origin(here), allowed_origin(there)) == (APP, APP)

    runtime: Runtime = here.extensions["valetkey"]
    client = clients.find(runtime.store, client_id, clock())
    assert client
    disable_client(runtime.store, client, runtime.clock())
    clock.forward(0.6)
    assert (allowed_origin(here), allowed_origin(there)) == (None, None)


def test_an_app_that_registers_itself_is_allowed_if_its_policy_is_browser(app: Flask, clock: Clock) -> None:
    assert allowed_origin(app) is None
    members = {"redirect_uris": [f"{APP}/back"], "token_endpoint_auth_method": "none", "application_type": "web"}
    response = app.test_client().post("/oauth/register", json=members)
    assert response.status_code == 201, response.text
    client = clients.find(app.extensions["valetkey"].store, response.json["client_id"], clock())
    assert client

    clock.forward(0.6)

    assert allowed_origin(app) == (APP if client.policy.name == "browser" else None)


def test_a_process_that_missed_pruned_changes_reloads_all_origins(
    make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    from valetkey.outbound.pruning import prune

    here, there = (make_app(store_url) for _ in range(2))
    assert allowed_origin(there) is None
    add_app(here)
    clock.forward(7200)
    prune(here.extensions["valetkey"].store, clock())

    assert allowed_origin(there) == APP


def test_checking_an_origin_sends_no_sql_per_request(app: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    add_app(app)
    app.add_url_rule("/api/free", "free", public(lambda: jsonify()))
    allowed_origin(app)
    statements: list[Any] = []
    runtime: Runtime = app.extensions["valetkey"]
    fetch_all = runtime.store.fetch_all
    monkeypatch.setattr(runtime.store, "fetch_all", lambda bound: statements.append(bound) or fetch_all(bound))

    for number in range(50):
        allowed_origin(app, f"https://unknown-{number}.example", "/api/free")

    assert statements == []


def test_requests_succeed_without_cors_headers_while_the_database_is_down(
    app: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.add_url_rule("/api/free", "free", public(lambda: jsonify()))
    app.test_client().get("/api/free")

    def down(*_: Any) -> Any:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(app.extensions["valetkey"].store, "fetch_all", down)
    clock.forward(5)

    assert allowed_origin(app, path="/api/free") is None


def test_the_cors_setting_allows_every_origin_or_none(make_app: MakeApp, sqlite_store_url: str) -> None:
    any_origin, no_origin = (make_app(sqlite_store_url, cors=cors) for cors in ("any", "off"))

    assert allowed_origin(any_origin, STRANGER) == "*"
    assert allowed_origin(no_origin, STRANGER) is None
    with pytest.raises(SettingsError, match="cors must be"):
        Settings(cors="some")


def test_an_app_may_read_the_response_to_a_request_with_a_token(app: Flask, ada: Browser) -> None:
    add_app(app)
    token = ada.obtain_tokens()["access_token"]

    headers = {"Authorization": f"Bearer {token}", "Origin": APP}
    response = ada.http.get("/api/protected", headers=headers)

    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (200, APP)


@pytest.mark.parametrize("name", ["Access-Control-Allow-Origin", "access-control-allow-origin"])
def test_cors_headers_of_the_host_are_not_replaced(app: Flask, name: str) -> None:
    add_app(app)
    app.add_url_rule("/api/own", "own", public(lambda: ("", 200, {name: "https://mine"})))

    headers = app.test_client().get("/api/own", headers={"Origin": APP}).headers

    assert headers.getlist("Access-Control-Allow-Origin") == ["https://mine"]


def test_use_cors_works_without_valetkey() -> None:
    app = Flask("plain")
    use_cors(app, "/v1", [APP])
    app.add_url_rule("/v1/one", "one", lambda: "x")

    assert (allowed_origin(app, APP, "/v1/one"), allowed_origin(app, STRANGER, "/v1/one")) == (APP, None)


def test_the_prefix_itself_is_below_the_prefix() -> None:
    app = Flask("plain")
    use_cors(app, "/v1", [APP])
    app.add_url_rule("/v1", "root", lambda: "x")

    assert allowed_origin(app, APP, "/v1") == APP


@pytest.mark.parametrize("wrong", [APP, "*", ["*"], [f"{APP}/"], [f"{APP}/path"], ["APP.example"], ["null"]])
def test_use_cors_refuses_values_that_are_not_origins(wrong: Any) -> None:
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
def test_the_origin_of_a_redirect_uri_is_written_as_browsers_do(uri: str, origin: set[str]) -> None:
    assert origins_of((uri,)) == origin
