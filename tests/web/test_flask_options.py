"""Valetkey works with every configuration key and constructor argument of Flask, or refuses to start and says why."""

from __future__ import annotations

import inspect
import logging.config
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import werkzeug
from flask import Flask, Request, Response
from flask.json.provider import DefaultJSONProvider
from flask.sessions import NullSession, SessionInterface
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict
from werkzeug.routing import Rule

from tests.support.app import ENCRYPTION_KEY, add_api_routes
from tests.support.browser_client import CALLBACK, SCOPES, Browser, sign_in_new_account
from valetkey import Google, SettingsError, Valetkey
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime

ISSUER = "http://127.0.0.1:8000"

# A value of each key that is far from its default.
CONFIG: dict[str, Any] = {
    "APPLICATION_ROOT": "/elsewhere",
    "DEBUG": True,
    "EXPLAIN_TEMPLATE_LOADING": True,
    "MAX_CONTENT_LENGTH": 10,
    "MAX_COOKIE_SIZE": 0,
    "MAX_FORM_MEMORY_SIZE": 10,
    "MAX_FORM_PARTS": 0,
    "PERMANENT_SESSION_LIFETIME": timedelta(0),
    "PREFERRED_URL_SCHEME": "https",
    "PROPAGATE_EXCEPTIONS": True,
    "PROVIDE_AUTOMATIC_OPTIONS": False,
    "SECRET_KEY": "of the test",
    "SECRET_KEY_FALLBACKS": ["of the past"],
    "SEND_FILE_MAX_AGE_DEFAULT": 31_536_000,
    "SERVER_NAME": "127.0.0.1:8000",
    "SESSION_COOKIE_DOMAIN": "example.com",
    "SESSION_COOKIE_HTTPONLY": False,
    "SESSION_COOKIE_NAME": "of_the_host",
    "SESSION_COOKIE_PARTITIONED": True,
    "SESSION_COOKIE_PATH": "/elsewhere",
    "SESSION_COOKIE_SAMESITE": "Strict",
    "SESSION_COOKIE_SECURE": True,
    "SESSION_REFRESH_EACH_REQUEST": False,
    "TEMPLATES_AUTO_RELOAD": True,
    "TESTING": True,
    "TRAP_BAD_REQUEST_ERRORS": True,
    "TRAP_HTTP_EXCEPTIONS": True,
    "TRUSTED_HOSTS": ["127.0.0.1"],
    "USE_X_SENDFILE": True,
}
ARGUMENTS: dict[str, Any] = {
    "host_matching": True,
    "import_name": "elsewhere",
    "instance_path": "/nonexistent",
    "instance_relative_config": True,
    "root_path": "/nonexistent",
    "static_folder": None,
    "static_host": "static.example.com",
    "static_url_path": "",
    "subdomain_matching": True,
    "template_folder": None,
}


class OwnRequest(Request):
    parameter_storage_class = MultiDict  # type: ignore[assignment]  # as Werkzeug's documentation has it
    max_content_length = 10  # type: ignore[assignment]  # as the attribute of a class


class OwnResponse(Response):
    default_mimetype = "application/octet-stream"
    charset = "latin-1"


class OwnJson(DefaultJSONProvider):
    """Writes everything as the same text, so that it is noticed if Valetkey uses it."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return '"own"'


class OwnRule(Rule):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "strict_slashes": False})


class NullSessions(SessionInterface):
    """Sessions of an app that has no SECRET_KEY and keeps none."""

    def open_session(self, app: Flask, request: Request) -> Any:
        return NullSession()

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        response.headers.add("Vary", "Cookie")


def set_attribute(name: str, value: Any) -> Any:
    return lambda app: setattr(app, name, value)


def change_slashes(app: Flask) -> None:
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False


HABITS: dict[str, Any] = {
    "request_class": set_attribute("request_class", OwnRequest),
    "response_class": set_attribute("response_class", OwnResponse),
    "response_class of Werkzeug": set_attribute("response_class", werkzeug.Response),
    "redirect": set_attribute("redirect", lambda location, code=302: Response(f"moved to {location}")),
    "url_rule_class": set_attribute("url_rule_class", OwnRule),
    "slashes": change_slashes,
    "session_interface": set_attribute("session_interface", NullSessions()),
    "json provider": lambda app: setattr(app, "json", OwnJson(app)),
    "url_defaults": lambda app: app.url_defaults(lambda endpoint, values: values.setdefault("lang", "en")),
    "url_value_preprocessor": lambda app: app.url_value_preprocessor(lambda endpoint, values: None),
}


class IssuerClient(FlaskClient):
    """A client that sends its requests to the issuer."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        return super().open(*args, **{"base_url": ISSUER, **kwargs})

    def set_cookie(self, key: str, value: str = "", **kwargs: Any) -> None:
        super().set_cookie(key, value, **{"domain": "127.0.0.1", **kwargs})


def create_host(url: str, arguments: dict[str, Any], **settings: Any) -> Flask:
    app = Flask(**{"import_name": "host", **arguments})
    app.test_client_class = IssuerClient
    options = {"issuer": ISSUER, "cors": "any", **settings}
    valet = Valetkey(
        scopes=SCOPES, encryption_keys=(ENCRYPTION_KEY,), database_url=url, embedded_worker=False, **options
    )
    app.extensions["of the test"] = valet
    return app


def initialize(app: Flask) -> None:
    app.extensions["of the test"].init_app(app)
    if app.url_map.host_matching:  # the host's own routes are for a host, too
        app.url_rule_class = lambda *a, **k: Rule(*a, host="127.0.0.1:8000", **k)  # type: ignore[assignment]
    add_api_routes(app)


def check_everything(app: Flask) -> None:
    """Use endpoints, pages, forms, static files and a protected route of the app."""
    runtime: Runtime = app.extensions["valetkey"]
    robot = Browser(app.test_client(), register_client(runtime, runtime.clock(), name="Robot", policy="machine"))
    http = robot.http
    metadata = http.get("/.well-known/oauth-authorization-server")
    assert (metadata.status_code, metadata.get_json()["issuer"]) == (200, ISSUER)
    token = robot.request_token("client_credentials", scope="profile").json["access_token"]
    assert http.get("/api/protected").status_code == 401
    assert http.get("/api/protected", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    preflight = http.options(
        "/api/protected", headers={"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    )
    assert (preflight.status_code, preflight.headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert http.get("/oauth/nowhere").status_code == 404
    for method, path, status in (
        ("GET", "/account/sign-in", 200),
        ("GET", "/docs", 200),
        ("GET", "/oauth/nowhere", 404),
        ("GET", "/oauth/consent/x", 400),
        ("DELETE", "/account/sign-in", 405),
        ("GET", "/account", 303),
    ):
        page = http.open(path, method=method, headers={"Accept": "text/html"})
        assert (page.status_code, page.content_type) == (status, "text/html; charset=utf-8"), path
    assert http.open("/oauth/token", method="BREW").status_code == 405
    style = http.get("/oauth/pages/static/valetkey.css")
    assert style.status_code == 200 and "X-Sendfile" not in style.headers and len(style.data) > 100
    assert style.headers["Cache-Control"] == "no-cache"
    style.close()
    assert http.get("/openapi.json").content_type == "application/json"
    shop = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    for path in ("/account/sign-in", Browser(http, shop).authorize().request.full_path):
        cookies = app.test_client().get(path).headers.getlist("Set-Cookie")
        assert any("browser" in cookie for cookie in cookies), path
    ada = sign_in_new_account(Browser(app.test_client(), shop), runtime, "ada@example.org", "Ada")
    assert ada.obtain_tokens()["access_token"]
    assert 'href="/' in ada.get("/account").text


@pytest.fixture
def closing() -> Iterator[list[Flask]]:
    apps: list[Flask] = []
    yield apps
    for app in apps:
        if "valetkey" in app.extensions:
            app.extensions["valetkey"].close()


def test_every_configuration_key_and_argument_of_flask_has_a_test() -> None:
    arguments = set(inspect.signature(Flask.__init__).parameters) - {"self"}

    assert set(Flask.default_config) - set(CONFIG) == set()
    assert arguments - set(ARGUMENTS) == set()


@pytest.mark.filterwarnings("ignore:The '.*' cookie is too large:UserWarning", "ignore:Setting the")
@pytest.mark.parametrize("key", CONFIG)
def test_everything_works_with_each_configuration_key(sqlite_store_url: str, closing: list[Flask], key: str) -> None:
    app = create_host(sqlite_store_url, {})
    closing.append(app)
    app.config[key] = CONFIG[key]
    initialize(app)

    check_everything(app)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_everything_works_with_each_argument_of_flask(sqlite_store_url: str, closing: list[Flask], name: str) -> None:
    arguments = {name: ARGUMENTS[name]}
    if name in {"host_matching", "static_host"}:  # Flask requires both
        arguments |= {"host_matching": True, "static_host": "static.example.com"}
    app = create_host(sqlite_store_url, arguments)
    closing.append(app)
    if name == "subdomain_matching":
        app.config["SERVER_NAME"] = "127.0.0.1:8000"
    initialize(app)

    check_everything(app)


@pytest.mark.parametrize("name", HABITS)
def test_everything_works_with_what_hosts_commonly_replace(
    sqlite_store_url: str, closing: list[Flask], name: str
) -> None:
    app = create_host(sqlite_store_url, {})
    closing.append(app)
    HABITS[name](app)
    initialize(app)

    check_everything(app)


@pytest.mark.parametrize(
    ("path", "form", "expected"),
    [
        ("/oauth/logout", {"client_id": "shop", "state": "s"}, "?lang=en&client_id=shop&state=s"),
        ("/account/tokens/new", {"name": "backup"}, "%26name%3Dbackup"),
        ("/account/sign-in/google/callback", {"code": "c", "state": "s"}, "?lang=en&code=c&state=s"),
    ],
)
def test_a_query_that_the_host_adds_to_every_url_changes_no_other_parameter(
    sqlite_store_url: str, closing: list[Flask], path: str, form: dict[str, str], expected: str
) -> None:
    app = create_host(sqlite_store_url, {}, sign_in_with=[Google("id", "secret")])
    closing.append(app)
    HABITS["url_defaults"](app)
    initialize(app)

    location = app.test_client().post(path, data=form).location

    assert expected in location


def test_own_paths_are_only_at_the_issuers_host_if_the_app_matches_hosts(
    sqlite_store_url: str, closing: list[Flask]
) -> None:
    app = create_host(sqlite_store_url, {"host_matching": True, "static_folder": None})
    closing.append(app)
    initialize(app)

    assert app.test_client().get("/account/sign-in", base_url="http://localhost").status_code == 404


def test_own_paths_are_at_the_subdomain_of_the_issuer(sqlite_store_url: str, closing: list[Flask]) -> None:
    app = create_host(sqlite_store_url, {"subdomain_matching": True}, issuer="https://api.example.com")
    closing.append(app)
    app.config["SERVER_NAME"] = "Example.com"
    initialize(app)

    hosts = ("api.example.com", "example.com", "www.example.com")
    statuses = [app.test_client().get("/account/sign-in", base_url=f"https://{host}").status_code for host in hosts]

    assert statuses == [200, 404, 404]


def test_an_issuer_that_no_subdomain_matches_stops_the_start(sqlite_store_url: str) -> None:
    app = create_host(sqlite_store_url, {"subdomain_matching": True})
    app.config["SERVER_NAME"] = "elsewhere.localhost"

    with pytest.raises(SettingsError, match="set issuer to the URL of that host or of a subdomain"):
        initialize(app)


@pytest.mark.parametrize("name", ["valetkey_session", "__Host-valetkey_browser"])
def test_a_session_cookie_with_the_name_of_ours_stops_the_start(sqlite_store_url: str, name: str) -> None:
    app = create_host(sqlite_store_url, {})
    app.config["SESSION_COOKIE_NAME"] = name

    with pytest.raises(SettingsError, match="choose another name"):
        initialize(app)


def test_the_log_survives_the_logging_configuration_of_the_host(
    sqlite_store_url: str, closing: list[Flask], capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("valetkey")
    state = (logger.disabled, logger.level, logger.handlers[:], logger.propagate)
    try:
        app = create_host(sqlite_store_url, {})
        closing.append(app)
        initialize(app)
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
        app.test_client().get("/api/protected")
        is_disabled = logger.disabled
    finally:
        logger.disabled, logger.level, logger.handlers[:], logger.propagate = state

    assert not is_disabled


def test_several_servers_on_one_host_name_have_different_cookies(sqlite_store_url: str, closing: list[Flask]) -> None:
    issuers = ("https://example.com", "https://example.com/a", "https://example.com:8443", "https://example.com/b")
    names: list[str] = []
    for issuer in issuers:
        app = create_host(sqlite_store_url, {}, issuer=issuer)
        closing.append(app)
        initialize(app)
        response = app.test_client().get("/account/sign-in", base_url=issuer)
        names += [cookie.partition("=")[0] for cookie in response.headers.getlist("Set-Cookie")]

    assert names[0] == "__Host-valetkey_browser"
    assert len(set(names)) == len(issuers) == len(names)
