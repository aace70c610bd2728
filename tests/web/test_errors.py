"""Every error below the API's prefix is a problem with a reference; below our own paths it is JSON or a page."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, abort, jsonify, request
from werkzeug.exceptions import HTTPException, NotFound

from tests.conftest import MakeApp
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

    @app.post("/api/answers/<int:status>")
    @public
    def answers(status: int) -> Any:
        abort(status)

    @app.post("/api/says")
    @public
    def says() -> Any:
        abort(422, description="the colour is not one of ours")

    app.add_url_rule("/page", "page", lambda: abort(404))
    return app


def test_a_path_that_nobody_serves_is_a_problem_with_a_reference_that_the_log_has(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    missed = app.test_client().get("/api/nowhere")

    assert missed.status_code == 404
    assert missed.headers["Content-Type"] == "application/problem+json"
    assert (missed.json["status"], missed.json["title"]) == (404, "Not Found")
    assert missed.json["reference"] == missed.headers["Request-Id"]
    assert missed.json["reference"] in caplog.text


def test_a_method_that_nobody_serves_is_a_problem_with_allow(app: Flask) -> None:
    refused = app.test_client().delete("/api/public")

    assert refused.status_code == 405
    assert refused.json["status"] == 405
    assert set(refused.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 418, 422, 429, 500, 503])
def test_whatever_a_view_aborts_with_is_a_problem(app: Flask, status: int) -> None:
    refused = app.test_client().post(f"/api/answers/{status}")

    assert (refused.status_code, refused.mimetype) == (status, "application/problem+json")
    assert refused.json["status"] == status
    assert refused.json["reference"]


def test_the_words_of_an_abort_are_the_problems_detail(app: Flask) -> None:
    assert app.test_client().post("/api/says").json["detail"] == "the colour is not one of ours"


def test_json_that_is_none_is_told_in_words_for_programs(app: Flask) -> None:
    app.add_url_rule("/api/reads", "reads", public(lambda: jsonify(request.get_json())), methods=["POST"])

    refused = app.test_client().post("/api/reads", data="{", content_type="application/json")

    assert (refused.status_code, refused.json["detail"][:38]) == (400, "the request is malformed: its JSON, a ")


def test_a_body_over_flasks_own_limit_is_a_problem(app: Flask) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 10
    app.add_url_rule("/api/reads", "reads", public(lambda: jsonify(request.get_json())), methods=["POST"])

    refused = app.test_client().post("/api/reads", json={"long": "x" * 100})

    assert (refused.status_code, refused.mimetype) == (413, "application/problem+json")


def test_a_view_that_breaks_is_a_problem_without_what_broke(app: Flask) -> None:
    failed = app.test_client().get("/api/fails")

    assert (failed.status_code, failed.mimetype) == (500, "application/problem+json")
    assert "drawer" not in failed.text and "Traceback" not in failed.text


def test_outside_the_prefix_the_hosts_pages_stay_as_they_are(app: Flask) -> None:
    assert app.test_client().get("/page").mimetype == "text/html"
    assert app.test_client().get("/apiary").mimetype == "text/html"


@pytest.mark.parametrize("handled", [404, NotFound, HTTPException, Exception])
def test_the_hosts_own_handler_comes_first(make_app: MakeApp, sqlite_store_url: str, handled: Any) -> None:
    app = make_app(sqlite_store_url)
    app.register_error_handler(handled, lambda error: ("mine", 404))

    missed = app.test_client().get("/api/nowhere")

    assert (missed.status_code, missed.text) == (404, "mine")


def test_a_setting_turns_problems_off(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, problem_details=False, request_ids=False)

    missed = app.test_client().get("/api/nowhere")

    assert missed.mimetype == "text/html"
    assert "Request-Id" not in missed.headers


@pytest.mark.parametrize("header", ["Request-Id", "X-Request-Id"])
def test_a_well_formed_request_id_is_the_reference(app: Flask, header: str) -> None:
    refused = app.test_client().get("/api/protected", headers={header: "order-17.b"})

    assert refused.status_code == 401
    assert refused.json["reference"] == refused.headers["Request-Id"] == "order-17.b"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\u00ffb", "a;b", "vk_at_secret"])
def test_a_malformed_request_id_is_replaced(app: Flask, given: str) -> None:
    answer = app.test_client().get("/api/public", headers={"Request-Id": given})

    assert answer.status_code == 200
    assert answer.headers["Request-Id"] not in {"", given}


def test_the_log_can_be_told_the_request_id(app: Flask) -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, "", (), None)
    RequestIdFilter().filter(record)
    assert record.request_id == "-"  # type: ignore[attr-defined]
    with app.test_request_context("/api/public", headers={"Request-Id": "r1"}):
        RequestIdFilter().filter(record)
    assert record.request_id == "r1"  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/jwks", "/.well-known/oauth-authorization-server"])
def test_a_strange_method_at_an_endpoint_is_refused_as_json(app: Flask, path: str) -> None:
    for method in ("TRACE", "BREW"):
        refused = app.test_client().open(path, method=method)
        assert (refused.status_code, refused.mimetype) == (405, "application/json"), method
        assert refused.json["error"] == "invalid_request"
        assert "PATCH" not in refused.headers["Allow"] and refused.headers["Allow"]


def test_a_strange_method_at_a_page_is_refused_as_a_page(app: Flask) -> None:
    for path in ("/oauth/authorize", "/account/sign-in", "/device"):
        refused = app.test_client().open(path, method="TRACE")
        assert (refused.status_code, refused.mimetype) == (405, "text/html"), path
        assert refused.headers["Allow"] == "GET, POST"
        assert refused.headers["Content-Security-Policy"]
        assert "Reference" in refused.text


def test_an_unknown_path_below_ours_is_json_to_a_program_and_a_page_to_a_browser(app: Flask) -> None:
    program = app.test_client().get("/oauth/nowhere", headers={"Accept": "application/json"})
    person = app.test_client().get("/oauth/nowhere", headers={"Accept": "text/html,*/*;q=0.8"})

    assert (program.status_code, program.json["error"]) == (404, "invalid_request")
    assert program.headers["Valetkey-Reference"]
    assert (person.status_code, person.mimetype) == (404, "text/html")
    assert "There is no such page" in person.text
    assert person.headers["Content-Security-Policy"] and person.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/account/nowhere", "/account/tokens/nowhere", "/docs/nowhere"])
def test_an_unknown_path_below_a_page_of_ours_is_a_page_too(app: Flask, path: str) -> None:
    missed = app.test_client().get(path, headers={"Accept": "text/html"})

    assert missed.status_code == 404
    assert "There is no such page" in missed.text
    assert missed.headers["Content-Security-Policy"] and missed.headers["X-Frame-Options"] == "DENY"


def test_where_nobody_else_has_pages_every_unknown_path_is_ours(tmp_path: Path) -> None:
    http = create_app(data_dir=str(tmp_path), embedded_worker=False).test_client()

    for missed in (http.get("/nowhere", headers={"Accept": "text/html"}), http.post("/", headers={"Accept": "*/*"})):
        assert missed.status_code in {404, 405}
        assert "Reference" in missed.text and missed.headers["X-Frame-Options"] == "DENY"
    assert http.get("/api/nowhere").mimetype == "application/problem+json"
    assert http.get("/nowhere", headers={"Accept": "application/json"}).json["error"] == "invalid_request"


def break_store(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any) -> Any:
        raise StoreUnavailable("the database does not answer")

    runtime: Runtime = app.extensions["valetkey"]
    monkeypatch.setattr(runtime.store, "fetch_all", down)
    monkeypatch.setattr(runtime.store, "write", down)


def test_while_the_store_is_down_a_page_is_still_a_page_with_a_reference(
    app: Flask, ada: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_store(app, monkeypatch)

    refused = ada.get("/account")

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert refused.mimetype == "text/html" and "Please come back in a moment" in refused.text
    assert caplog.records[-1].message.split("[")[-1].rstrip("]") in refused.text


def test_where_even_the_frame_cannot_be_made_it_is_plain_text(
    app: Flask, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_keys(*_: Any) -> Any:
        raise StoreUnavailable("the folder cannot be read")

    break_store(app, monkeypatch)
    monkeypatch.setattr(app.extensions["valetkey"].cipher, "compute_hmacs", no_keys)

    refused = ada.get("/account")

    assert (refused.status_code, refused.mimetype) == (503, "text/plain")
    assert "Reference: " in refused.text


def test_the_api_while_the_store_is_down_has_a_reference(
    app: Flask, ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = ada.obtain_tokens()["access_token"]
    break_store(app, monkeypatch)
    app.extensions["valetkey"].feed.invalidate()

    refused = ada.call(token)

    assert refused.status_code == 503
    assert refused.json["reference"] == refused.headers["Request-Id"]
