"""The path of the issuer is removed once, whoever removes it: Valetkey, the server that mounts the app, or a proxy."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from valetkey.service import create_app

METADATA = "/.well-known/oauth-authorization-server"


def get(app: Flask, script: str, path: str) -> TestResponse:
    return app.test_client().get(path, environ_overrides={"SCRIPT_NAME": script, "PATH_INFO": path})


@pytest.mark.parametrize("prefix", ["/api", "/oauth", "/tenant", "/api/v1"])
@pytest.mark.parametrize("path", ["/api/public", "/oauth/jwks", "/account/sign-in", METADATA])
def test_a_path_that_is_below_the_issuer_is_found_if_the_server_mounts_the_app_there_or_not(
    make_app: MakeApp, sqlite_store_url: str, prefix: str, path: str
) -> None:
    app = make_app(sqlite_store_url, issuer=f"http://127.0.0.1:8000{prefix}")
    outer = Flask("outer")
    outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {prefix: app})  # type: ignore[method-assign]

    assert get(app, "", f"{prefix}{path}").status_code == 200
    assert get(outer, "", f"{prefix}{path}").status_code == 200
    assert get(outer, "/root", f"{prefix}{path}").status_code == 200


def test_repeated_slashes_after_the_mount_are_merged_below_it(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, issuer="http://127.0.0.1:8000/oauth")

    assert get(app, "/oauth", "/oauth//jwks").location == "/oauth/oauth/jwks"
    assert get(app, "", "/oauth/oauth//jwks").location == "/oauth/oauth/jwks"


@pytest.mark.parametrize(
    ("prefix", "script", "path", "is_logged"),
    [
        ("/api", "", "/api/public", True),  # of a proxy that removes /api, or for /public
        ("/api", "/api", "/api/public", False),
        ("/api", "", "/api/api/public", False),
        ("/api", "", "/api/oauth/jwks", False),
        ("/tenant", "", "/tenant/elsewhere", False),
        ("/tenant", "", "/api/public", False),
        ("/ap", "", "/ap/elsewhere", False),
    ],
)
def test_a_path_that_may_be_that_of_the_issuer_or_of_the_api_is_logged_once(
    make_app: MakeApp,
    sqlite_store_url: str,
    caplog: pytest.LogCaptureFixture,
    prefix: str,
    script: str,
    path: str,
    is_logged: bool,
) -> None:
    app = make_app(sqlite_store_url, issuer=f"http://127.0.0.1:8000{prefix}")

    for _ in range(2):
        get(app, script, path)

    assert caplog.text.count("is also the beginning of api_prefix") == is_logged


def test_the_first_page_of_the_service_links_to_metadata_below_the_issuer(sqlite_store_url: str) -> None:
    app = create_app(issuer="http://127.0.0.1:8000/tenant", database_url=sqlite_store_url, embedded_worker=False)
    try:
        assert f'href="http://127.0.0.1:8000/tenant{METADATA}"' in get(app, "", "/tenant/").text
    finally:
        app.extensions["valetkey"].close()
