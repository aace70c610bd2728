"""What hooks and extensions of the host app, or a second app, cannot do: open pages to scripts, or mix up responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from flask import Flask, Response, abort, current_app, g, jsonify, request
from flask_wtf import CSRFProtect
from werkzeug.routing import BaseConverter
from werkzeug.test import Client

from tests.support.app import MakeApp
from valetkey import Valetkey, public, require_oauth
from valetkey.api_helpers import use_cors, use_request_ids
from valetkey.protocol.unavailable import BackendUnavailable

APP, STRANGER = "https://app.example", "https://stranger.example"
PREFLIGHT = {"Origin": STRANGER, "Access-Control-Request-Method": "GET"}
PAGES = ("/oauth/authorize", "/oauth/consent/1", "/account", "/account/sign-in", "/account/tokens/new", "/device")


def make_api(**settings: Any) -> Flask:
    app = Flask("api")
    app.config["SECRET_KEY"] = "of the test"
    Valetkey(app, env_prefix=None, scopes={"notes:read": "Read your notes"}, **settings)
    return app


def allow_with_cookies(response: Response) -> Response:
    """As Flask-CORS does with ``supports_credentials=True``."""
    response.headers["Access-Control-Allow-Origin"] = STRANGER
    response.headers["Access-Control-Allow-Credentials"] = "true"
    return response


@pytest.fixture
def app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    return make_app(sqlite_store_url)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_the_host_cannot_allow_scripts_to_read_pages(app: Flask, method: str) -> None:
    app.after_request(allow_with_cookies)
    app.add_url_rule("/own", "own", lambda: "", methods=[method], provide_automatic_options=False)

    for path in PAGES:
        response = app.test_client().open(path, method=method, headers=PREFLIGHT)
        assert not [name for name, _ in response.headers if name.startswith("Access-Control-")], path
    assert app.test_client().open("/own", method=method).headers["Access-Control-Allow-Origin"] == STRANGER


def test_use_cors_leaves_pages_out(app: Flask) -> None:
    use_cors(app)

    for path in PAGES:
        for method in ("GET", "OPTIONS"):
            response = app.test_client().open(path, method=method, headers=PREFLIGHT)
            assert "Access-Control-Allow-Origin" not in response.headers, (method, path)


def test_a_preflight_runs_the_hosts_code_once_if_the_host_responds_and_else_not_at_all() -> None:
    app, calls = make_api(cors="any"), Counter[str]()
    app.before_request(lambda: calls.update(["before"]))
    app.teardown_request(lambda _: calls.update(["after"]))
    app.add_url_rule("/own", "own", lambda: "")
    app.add_url_rule("/api/own", "api", public(lambda: ""))

    app.test_client().options("/own", headers=PREFLIGHT)
    assert calls == {"before": 1, "after": 1}
    app.test_client().options("/api/own", headers=PREFLIGHT)
    assert calls == {"before": 1, "after": 1}


def test_an_error_of_a_converter_during_a_preflight_is_handled_by_the_app() -> None:
    app = make_api(cors="any")

    class Failing(BaseConverter):
        def to_python(self, value: str) -> str:
            raise ConnectionError

    app.url_map.converters["failing"] = Failing
    app.add_url_rule("/api/<failing:item>", "item", public(lambda item: ""))

    assert app.test_client().options("/api/1", headers=PREFLIGHT).status_code == 500


def test_the_host_may_allow_further_origins_below_the_api_prefix(app: Flask) -> None:
    app.after_request(allow_with_cookies)
    app.add_url_rule("/api/own", "own", public(lambda: ""))

    response = app.test_client().options("/api/own", headers=PREFLIGHT)

    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (200, STRANGER)


def test_an_exemption_from_csrf_protect_is_not_valid_in_another_app() -> None:
    csrf, shop = CSRFProtect(), Flask("shop")
    shop.config["SECRET_KEY"] = "of the shop"
    api = make_api()
    for app in (api, shop):
        csrf.init_app(app)
    api.add_url_rule("/notes", "notes", require_oauth("notes:read")(lambda: "stored"), methods=["POST"])
    shop.add_url_rule("/notes", "notes", lambda: "stored", methods=["POST"])
    headers = {"Authorization": "Bearer x"}

    assert api.test_client().post("/notes", headers=headers, base_url="http://127.0.0.1:8000").status_code == 401
    assert shop.test_client().post("/notes", headers=headers).status_code == 400


def test_a_refusal_keeps_its_body_if_a_hook_of_the_host_fails_afterwards() -> None:
    app = make_api()
    app.add_url_rule("/api/notes", "notes", require_oauth("notes:read")(lambda: ""))

    @app.after_request
    def fail(response: Response) -> Response:
        raise RuntimeError

    response = app.test_client().get("/api/notes", base_url="http://127.0.0.1:8000")

    assert (response.status_code, (response.json or {})["status"]) == (401, 401)


def test_a_handler_of_the_host_without_a_status_keeps_its_body() -> None:
    app = make_api()
    app.add_url_rule("/api/notes", "notes", require_oauth("notes:read")(lambda: ""))
    app.register_error_handler(401, lambda _: jsonify(mine=True))

    response = app.test_client().get("/api/notes", base_url="http://127.0.0.1:8000")

    assert (response.status_code, response.json) == (401, {"mine": True})


def test_a_handler_of_the_host_chooses_the_body_if_the_store_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_api()
    app.add_url_rule("/api/notes", "notes", require_oauth("notes:read")(lambda: ""))
    app.register_error_handler(503, lambda _: (jsonify(mine=True), 503))

    def fail(*_: object, **__: object) -> None:
        raise BackendUnavailable("down")

    monkeypatch.setattr(app.extensions["valetkey"].verifier, "verify_header", fail)
    headers = {"Authorization": "Bearer x"}
    response = app.test_client().get("/api/notes", headers=headers, base_url="http://127.0.0.1:8000")

    assert (response.status_code, response.json) == (503, {"mine": True})


def test_a_teardown_that_needs_a_request_does_not_make_the_server_unready(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    app = make_app(sqlite_store_url, readiness_path="/readyz")
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.before_request
    def connect() -> None:
        g.connection = object()

    @app.teardown_request
    def disconnect(_: BaseException | None) -> None:
        del g.connection

    assert app.test_client().get("/readyz").status_code == 200


def test_a_second_app_that_is_called_with_the_same_environment_knows_nothing_of_the_first() -> None:
    first, second = make_api(), make_api(account_path="/me")
    first.add_url_rule("/notes", "notes", public(limit="50/minute")(lambda: abort(404)))
    second.add_url_rule("/notes", "notes", lambda: "notes")
    second.add_url_rule("/account/mine", "mine", lambda: ("page", {"Cache-Control": "max-age=5"}))

    def cascade(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        statuses: list[str] = []
        chunks = first.wsgi_app(environ, lambda status, *_: statuses.append(status))
        b"".join(chunks)
        assert statuses[0].startswith("404")
        return second.wsgi_app(environ, start_response)

    client = Client(cascade)
    for path in ("/notes", "/account/mine"):
        together = client.get(path, base_url="http://127.0.0.1:8000")
        alone = second.test_client().get(path, base_url="http://127.0.0.1:8000")
        assert {name for name, _ in together.headers} == {name for name, _ in alone.headers}, path
        assert together.headers.get("Cache-Control") == alone.headers.get("Cache-Control")


def test_rate_limit_fields_of_the_host_are_replaced() -> None:
    app = make_api(rate_limit_fields="both")
    app.add_url_rule("/api/notes", "notes", public(limit="100/minute")(lambda: ("", {"X-RateLimit-Limit": "600"})))

    response = app.test_client().get("/api/notes", base_url="http://127.0.0.1:8000")

    assert response.headers.getlist("X-RateLimit-Limit") == ["100"]


@pytest.mark.parametrize("is_first", [True, False])
def test_helpers_for_other_apps_do_not_mix_up_requests(is_first: bool) -> None:
    app = Flask("api")
    app.before_request(lambda: request.form.get("x") and None)
    if is_first:
        use_request_ids(app)
        use_cors(app)
    Valetkey(app, env_prefix=None, endpoints_bypass_flask=False)
    if not is_first:
        use_request_ids(app)
        use_cors(app)

    form = {"grant_type": "client_credentials", "client_id": "unknown", "client_secret": "wrong"}
    response = app.test_client().post("/oauth/token", data=form, base_url="http://127.0.0.1:8000")

    assert (response.status_code, (response.json or {})["error"]) == (401, "invalid_client")


def test_a_function_that_checks_origins_can_use_the_app() -> None:
    app = Flask("api")
    app.config["ORIGINS"] = [APP]
    use_cors(app, origins=lambda origin: origin in current_app.config["ORIGINS"])
    app.add_url_rule("/own", "own", lambda: "")

    for method in ("GET", "OPTIONS"):
        response = app.test_client().open("/own", method=method, headers={**PREFLIGHT, "Origin": APP})
        assert response.headers["Access-Control-Allow-Origin"] == APP
