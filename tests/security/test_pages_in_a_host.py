"""Valetkey's pages are the same whatever the host app does to its Jinja environment and to headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response
from flask_talisman import Talisman

from tests.support.app import ENCRYPTION_KEY, MakeApp
from tests.support.browser_client import SCOPES, Browser, sign_in_new_account
from tests.support.refusals import check_headers
from tests.support.user import CALLBACK
from valetkey import Valetkey
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime

HOSTILE = "<script>alert(1)</script>\"'{{ 7*7 }}"
PAGES = ("/account/sign-in", "/account/sign-up", "/device", "/docs", "/oauth/authorize?client_id=x", "/account/nowhere")


def change_delimiters(app: Flask) -> None:
    app.jinja_options = {"variable_start_string": "[[", "variable_end_string": "]]", "block_start_string": "[%"}


def disable_autoescaping(app: Flask) -> None:
    app.jinja_options = {"autoescape": False}
    app.select_jinja_autoescape = lambda name: False  # type: ignore[method-assign]  # as hosts do


def change_context(app: Flask) -> None:
    app.context_processor(lambda: {"site_name": "Another site", "url_for": lambda *_, **__: "/elsewhere"})
    app.jinja_env.globals["url_for"] = lambda *_, **__: "/elsewhere"
    app.jinja_env.filters["join"] = lambda *_: "joined"


@pytest.mark.parametrize("change", [change_delimiters, disable_autoescaping, change_context])
@pytest.mark.parametrize("order", ["before Valetkey", "after Valetkey"])
def test_the_jinja_environment_of_the_host_does_not_change_a_page(
    make_app: MakeApp, sqlite_store_url: str, change: Callable[[Flask], None], order: str
) -> None:
    app = Flask("host")
    valet = Valetkey(scopes=SCOPES, encryption_keys=(ENCRYPTION_KEY,), database_url=sqlite_store_url, site_name=HOSTILE)
    steps = (change, valet.init_app)
    for step in steps if order == "before Valetkey" else reversed(steps):
        step(app)

    page = app.test_client().get("/account/sign-in").text

    assert "<title>Sign in – &lt;script&gt;" in page and "<script>alert" not in page
    assert "{{" not in page.replace("{{ 7*7 }}", "") and "{%" not in page and "/elsewhere" not in page
    app.extensions["valetkey"].close()


def test_hostile_names_of_sites_clients_and_scopes_are_text_on_every_page(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    app = make_app(sqlite_store_url, site_name=HOSTILE, scopes={"profile": HOSTILE, "notes:read": HOSTILE})
    runtime: Runtime = app.extensions["valetkey"]
    client = register_client(runtime, runtime.clock(), name="<b>Ada</b> <x>", policy="web", redirect_uris=[CALLBACK])
    browser = sign_in_new_account(Browser(app.test_client(), client), runtime, "ada@example.org", "<b>Ada</b>")

    pages = [browser.get(path).text for path in (*PAGES, "/account", "/account/tokens", "/account/tokens/new")]
    pages.append(browser.authorize().text)

    for page in pages:
        assert "<script>alert" not in page and "<b>Ada" not in page and "<x>" not in page, page
    assert "&lt;script&gt;alert(1)" in pages[-1]


def write_other_headers(response: Response) -> Response:
    for name in ("Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy"):
        response.headers[name] = "of the host"
    response.headers["Cache-Control"] = "public, max-age=600"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Strict-Transport-Security"] = "max-age=63072000; includeSubDomains; preload"
    return response


@pytest.mark.parametrize("kind", ["hook", "Flask-Talisman"])
def test_headers_of_the_host_do_not_replace_those_of_a_page(
    make_app: MakeApp, sqlite_store_url: str, kind: str
) -> None:
    app = make_app(sqlite_store_url)
    if kind == "hook":
        app.after_request(write_other_headers)
    else:
        Talisman(app, force_https=False, content_security_policy={"default-src": "*"}, frame_options="SAMEORIGIN")

    http = app.test_client()
    for path in PAGES:
        page = http.get(path, headers={"Accept": "text/html"})
        if path != "/docs":  # it has a script
            check_headers(page)
        assert "of the host" not in str(page.headers) and "*" not in page.headers["Content-Security-Policy"]
        for name in ("Content-Security-Policy", "X-Frame-Options", "Cache-Control"):
            assert len(page.headers.getlist(name)) == 1
    assert "Cross-Origin-Opener-Policy" not in http.get("/account/sign-in").headers


def test_the_host_may_have_a_stricter_transport_security(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, issuer="https://api.example")
    app.after_request(write_other_headers)

    values = app.test_client().get("/account/sign-in").headers.getlist("Strict-Transport-Security")

    assert values == ["max-age=63072000; includeSubDomains; preload"]


def test_pages_of_the_account_are_isolated_whatever_the_host_writes(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)

    @app.after_request
    def allow_popups(response: Response) -> Response:
        response.headers["Cross-Origin-Opener-Policy"] = "unsafe-none"
        return response

    runtime: Runtime = app.extensions["valetkey"]
    client = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    browser = sign_in_new_account(Browser(app.test_client(), client), runtime, "ada@example.org", "Ada")

    for path in ("/account", "/account/tokens"):
        assert browser.get(path).headers.getlist("Cross-Origin-Opener-Policy") == ["same-origin"]


def test_a_hook_of_the_host_does_not_make_token_responses_cacheable(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, endpoints_bypass_flask=False)
    app.after_request(write_other_headers)
    robot = register_client(
        app.extensions["valetkey"], app.extensions["valetkey"].clock(), name="Robot", policy="machine"
    )

    response: Any = Browser(app.test_client(), robot).request_token("client_credentials")

    assert (response.status_code, response.headers.getlist("Cache-Control")) == (200, ["no-store"])


@pytest.mark.parametrize("has_handler", [False, True])
def test_an_error_after_the_response_of_an_endpoint_is_not_cached(
    make_app: MakeApp, sqlite_store_url: str, has_handler: bool
) -> None:
    app = make_app(sqlite_store_url)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    if has_handler:
        app.register_error_handler(500, lambda _: ("<h1>Sorry</h1>", 500))

    @app.after_request
    def fail(response: Response) -> Response:
        if response.status_code < 400:
            raise RuntimeError("the host's hook")
        return response

    failed = app.test_client().get("/oauth/jwks")

    assert (failed.status_code, failed.headers.getlist("Cache-Control")) == (500, ["no-store"])
    assert failed.mimetype == ("text/html" if has_handler else "application/json")


def test_a_response_that_is_not_modified_stays_cacheable(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    app.after_request(write_other_headers)
    http = app.test_client()
    etag = http.get("/oauth/jwks").headers["ETag"]

    unchanged = http.get("/oauth/jwks", headers={"If-None-Match": etag})

    assert (unchanged.status_code, unchanged.headers.getlist("Cache-Control")) == (304, ["public, max-age=300"])


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/account/nowhere", "/oauth/authorize?client_id=x"])
def test_a_page_without_a_form_sets_no_cookie(make_app: MakeApp, sqlite_store_url: str, path: str) -> None:
    response = make_app(sqlite_store_url).test_client().get(path, headers={"Accept": "text/html"})

    assert "Set-Cookie" not in response.headers
