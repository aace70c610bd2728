"""Errors under ``api_prefix`` are problem details with a reference; on Valetkey's own paths they are JSON or a page."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, abort, jsonify, request
from werkzeug.exceptions import HTTPException, NotFound

from tests.support.app import MakeApp
from tests.support.browser_client import Browser
from valetkey import public
from valetkey.runtime import Runtime
from valetkey.service import create_app
from valetkey.storage.engine.transaction import StoreUnavailable
from valetkey.web.request_id import RequestIdFilter


@pytest.fixture
def app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    app = make_app(sqlite_store_url)
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/api/fails")
    @public
    def fails() -> Any:
        raise RuntimeError("the drawer is stuck")

    @app.post("/api/aborts/<int:status>")
    @public
    def aborts(status: int) -> Any:
        abort(status)

    @app.post("/api/aborts-with-description")
    @public
    def aborts_with_description() -> Any:
        abort(422, description="the colour is not available")

    app.add_url_rule("/page", "page", lambda: abort(404))
    return app


def test_unknown_path_returns_problem_details_with_the_reference_of_its_log_line(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    refused = app.test_client().get("/api/nowhere")

    assert refused.status_code == 404
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert (refused.json["status"], refused.json["title"]) == (404, "Not Found")
    assert refused.json["reference"] == refused.headers["Request-Id"]
    assert refused.json["reference"] in caplog.text


def test_unsupported_method_returns_problem_details_with_the_allow_header(app: Flask) -> None:
    refused = app.test_client().delete("/api/public")

    assert refused.status_code == 405
    assert refused.json["status"] == 405
    assert set(refused.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 418, 422, 429, 500, 503])
def test_abort_in_a_view_returns_problem_details(app: Flask, status: int) -> None:
    refused = app.test_client().post(f"/api/aborts/{status}")

    assert (refused.status_code, refused.mimetype) == (status, "application/problem+json")
    assert refused.json["status"] == status
    assert refused.json["reference"]


def test_description_of_an_abort_becomes_the_detail_of_the_problem(app: Flask) -> None:
    assert app.test_client().post("/api/aborts-with-description").json["detail"] == "the colour is not available"


def test_malformed_json_returns_problem_details_that_name_the_mistake(app: Flask) -> None:
    app.add_url_rule("/api/reads", "reads", public(lambda: jsonify(request.get_json())), methods=["POST"])

    refused = app.test_client().post("/api/reads", data="{", content_type="application/json")

    assert (refused.status_code, refused.json["detail"][:38]) == (400, "the request is malformed: its JSON, a ")


def test_body_over_the_max_content_length_of_flask_returns_problem_details(app: Flask) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 10
    app.add_url_rule("/api/reads", "reads", public(lambda: jsonify(request.get_json())), methods=["POST"])

    refused = app.test_client().post("/api/reads", json={"long": "x" * 100})

    assert (refused.status_code, refused.mimetype) == (413, "application/problem+json")


def test_exception_in_a_view_returns_problem_details_without_its_message(app: Flask) -> None:
    failed = app.test_client().get("/api/fails")

    assert (failed.status_code, failed.mimetype) == (500, "application/problem+json")
    assert "drawer" not in failed.text and "Traceback" not in failed.text


def test_errors_of_the_host_outside_the_api_prefix_stay_unchanged(app: Flask) -> None:
    assert app.test_client().get("/page").mimetype == "text/html"
    assert app.test_client().get("/apiary").mimetype == "text/html"


@pytest.mark.parametrize("code_or_exception", [404, NotFound, HTTPException, Exception])
def test_error_handler_of_the_host_takes_precedence(
    make_app: MakeApp, sqlite_store_url: str, code_or_exception: Any
) -> None:
    app = make_app(sqlite_store_url)
    app.register_error_handler(code_or_exception, lambda error: ("by the host", 404))

    refused = app.test_client().get("/api/nowhere")

    assert (refused.status_code, refused.text) == (404, "by the host")


def test_settings_disable_problem_details_and_request_ids(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, problem_details=False, request_ids=False)

    refused = app.test_client().get("/api/nowhere")

    assert refused.mimetype == "text/html"
    assert "Request-Id" not in refused.headers


@pytest.mark.parametrize("header", ["Request-Id", "X-Request-Id"])
def test_well_formed_request_id_of_the_caller_becomes_the_reference(app: Flask, header: str) -> None:
    refused = app.test_client().get("/api/protected", headers={header: "order-17.b"})

    assert refused.status_code == 401
    assert refused.json["reference"] == refused.headers["Request-Id"] == "order-17.b"


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 65, "a\u00ffb", "a;b", "vk_at_secret"])
def test_malformed_request_id_is_replaced(app: Flask, request_id: str) -> None:
    response = app.test_client().get("/api/public", headers={"Request-Id": request_id})

    assert response.status_code == 200
    assert response.headers["Request-Id"] not in {"", request_id}


def test_logging_filter_adds_the_request_id_to_records(app: Flask) -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, "", (), None)
    RequestIdFilter().filter(record)
    assert record.request_id == "-"  # type: ignore[attr-defined]  # the filter adds this attribute
    with app.test_request_context("/api/public", headers={"Request-Id": "r1"}):
        RequestIdFilter().filter(record)
    assert record.request_id == "r1"  # type: ignore[attr-defined]  # the filter adds this attribute


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/jwks", "/.well-known/oauth-authorization-server"])
def test_unknown_method_at_an_endpoint_returns_405_as_json(app: Flask, path: str) -> None:
    for method in ("TRACE", "BREW"):
        refused = app.test_client().open(path, method=method)
        assert (refused.status_code, refused.mimetype) == (405, "application/json"), method
        assert refused.json["error"] == "invalid_request"
        assert "PATCH" not in refused.headers["Allow"] and refused.headers["Allow"]


def test_unknown_method_at_a_page_returns_405_as_a_page(app: Flask) -> None:
    for path in ("/oauth/authorize", "/account/sign-in", "/device"):
        refused = app.test_client().open(path, method="TRACE")
        assert (refused.status_code, refused.mimetype) == (405, "text/html"), path
        assert refused.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
        assert refused.headers["Content-Security-Policy"]
        assert "Reference" in refused.text


def test_unknown_path_below_oauth_path_returns_json_to_programs_and_a_page_to_browsers(app: Flask) -> None:
    for_program = app.test_client().get("/oauth/nowhere", headers={"Accept": "application/json"})
    for_browser = app.test_client().get("/oauth/nowhere", headers={"Accept": "text/html,*/*;q=0.8"})

    assert (for_program.status_code, for_program.json["error"]) == (404, "invalid_request")
    assert for_program.headers["Valetkey-Reference"]
    assert (for_browser.status_code, for_browser.mimetype) == (404, "text/html")
    assert "Page not found" in for_browser.text
    assert for_browser.headers["Content-Security-Policy"] and for_browser.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/account/nowhere", "/account/tokens/nowhere", "/docs/nowhere"])
def test_unknown_path_below_a_page_of_valetkey_returns_an_error_page(app: Flask, path: str) -> None:
    refused = app.test_client().get(path, headers={"Accept": "text/html"})

    assert refused.status_code == 404
    assert "Page not found" in refused.text
    assert refused.headers["Content-Security-Policy"] and refused.headers["X-Frame-Options"] == "DENY"


def test_standalone_server_renders_the_errors_of_all_paths(tmp_path: Path) -> None:
    http = create_app(data_dir=str(tmp_path), embedded_worker=False).test_client()

    for refused in (http.get("/nowhere", headers={"Accept": "text/html"}), http.post("/", headers={"Accept": "*/*"})):
        assert refused.status_code in {404, 405}
        assert "Reference" in refused.text and refused.headers["X-Frame-Options"] == "DENY"
    assert http.get("/api/nowhere").mimetype == "application/problem+json"
    assert http.get("/nowhere", headers={"Accept": "application/json"}).json["error"] == "invalid_request"


def break_store(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise StoreUnavailable("the database does not respond")

    runtime: Runtime = app.extensions["valetkey"]
    monkeypatch.setattr(runtime.store, "fetch_all", fail)
    monkeypatch.setattr(runtime.store, "write", fail)


def test_store_outage_shows_an_error_page_with_the_reference_of_its_log_line(
    app: Flask, ada: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_store(app, monkeypatch)

    refused = ada.get("/account")

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert refused.mimetype == "text/html" and "The site is temporarily unavailable" in refused.text
    assert vars(caplog.records[-1])["reference"] in refused.text


def test_store_outage_returns_plain_text_if_no_page_can_be_rendered(
    app: Flask, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError("the template cannot be read")

    break_store(app, monkeypatch)
    monkeypatch.setattr("valetkey.web.pages.render_page", fail)

    refused = ada.get("/account")

    assert (refused.status_code, refused.mimetype) == (503, "text/plain")
    assert "Reference: " in refused.text


def test_store_outage_returns_problem_details_with_a_reference_from_the_api(
    app: Flask, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = ada.obtain_tokens()["access_token"]
    break_store(app, monkeypatch)
    app.extensions["valetkey"].feed.invalidate()

    refused = ada.call(token)

    assert refused.status_code == 503
    assert refused.json["reference"] == refused.headers["Request-Id"]


@pytest.mark.parametrize("path", ["//api/public", "/./api/public", "/api//public"])
def test_a_path_with_repeated_slashes_has_the_headers_of_the_api(
    make_app: MakeApp, sqlite_store_url: str, path: str
) -> None:
    app = make_app(sqlite_store_url, cors="any")

    response = app.test_client().get(headers={"Origin": "https://app.example"}, environ_overrides={"PATH_INFO": path})

    assert response.headers["Request-Id"]
    assert response.headers["Access-Control-Allow-Origin"] == "*"
