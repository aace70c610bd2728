"""With the default issuer only loopback hosts are served; with an issuer that was set, no URL comes from ``Host``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView
from werkzeug.middleware.proxy_fix import ProxyFix

from valetkey import Valetkey, protect, public, require_oauth
from valetkey.service import create_app

METADATA = "/.well-known/oauth-authorization-server"
EVIL = "evil.example"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
PAGES = ("/account", "/account/sign-in", "/oauth/authorize", "/docs", "/device", "/account/tokens", "/oauth/logout")
MACHINE_PATHS = (METADATA, "/oauth/token", "/oauth/register", "/oauth/jwks.json", "/openapi.json", "/oauth/introspect")
SIGNS_OF_HOST = ("Location", "Link", "WWW-Authenticate", "Set-Cookie", "Content-Location")


def make_api(folder: Path, **settings: Any) -> Flask:
    app = Flask("api")
    settings = {"scopes": {"profile": "See your name"}, "data_dir": str(folder / "var"), **settings}
    Valetkey(app, embedded_worker=False, env_prefix=None, **settings)

    @app.get("/")
    @app.get("/api/undecorated")
    def host_view() -> str:
        return "the host's own"

    @app.get("/api/public")
    @public
    def public_view() -> str:
        return "public"

    @app.route("/api/protected", methods=["GET", "POST"])
    @require_oauth("profile")
    def protected() -> str:
        return "protected"

    class Notes(MethodView):
        @require_oauth
        def get(self) -> str:
            return "notes"

        def post(self) -> str:
            return "the host's own"

    app.add_url_rule("/api/notes", view_func=Notes.as_view("notes"))
    blueprint = Blueprint("inner", "inner")
    blueprint.add_url_rule("/api/inner", view_func=lambda: "inner", endpoint="view")
    app.register_blueprint(protect(blueprint))
    return app


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:5000", "localhost", "LOCALHOST:1", "[::1]:5000", "[::1]"],
)
def test_loopback_hosts_are_served_with_the_default_issuer(tmp_path: Path, host: str) -> None:
    client = make_api(tmp_path).test_client()

    assert client.get(METADATA, headers={"Host": host}).status_code == 200
    assert client.get("/account/sign-in", headers={"Host": host}).status_code == 200
    assert client.get("/api/protected", headers={"Host": host}).status_code == 401


@pytest.mark.parametrize(
    "host",
    [
        *(EVIL, "127.0.0.1.evil.com", "localhost.evil.com", "localhost.", "127.0.0.1@evil.com", "evil.com:127.0.0.1"),
        *("127.0.0.1,evil.com", "evil.com, 127.0.0.1", "127.0.0.1 evil.com", "127.0.0.1:80:80", "127.0.0.1:", "::1"),
        *("[::1].evil.com", "[::ffff:127.0.0.1]", "0.0.0.0", "127.0.0.2", "127.1", "2130706433", "10.0.0.1", ""),
        *("127.0.0.1\t", "127.0.0.1:８０", "ｌocalhost", "app.localhost"),
    ],
)
def test_all_other_hosts_are_refused_with_the_default_issuer(tmp_path: Path, host: str) -> None:
    client = make_api(tmp_path).test_client()
    for path in (METADATA, "/account/sign-in", "/api/protected"):
        environ = {"HTTP_HOST": host.encode().decode("latin-1")}
        assert client.get(path, environ_overrides=environ).status_code in {400, 421}, path
    assert not (tmp_path / "var").exists()


def test_a_request_without_host_is_refused_with_the_default_issuer(tmp_path: Path) -> None:
    app = make_api(tmp_path)

    def without_host(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        environ.pop("HTTP_HOST")
        return wsgi_app(environ, start_response)

    wsgi_app = app.wsgi_app
    app.wsgi_app = without_host  # type: ignore[method-assign]

    assert app.test_client().get(METADATA).status_code == 421


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_refused_at_every_path_and_nothing_is_written(tmp_path: Path, method: str) -> None:
    client = make_api(tmp_path).test_client()
    headers = {"Host": EVIL, "Origin": "https://shop.example", "Accept": "text/html"}
    if method == "OPTIONS":
        headers["Access-Control-Request-Method"] = "GET"
    for path in (*PAGES, *MACHINE_PATHS, "/oauth/nothing", "/account/nothing"):
        response = client.open(path, method=method, headers=headers)
        assert response.status_code == 421, (method, path)
        assert "Set-Cookie" not in response.headers
        assert method == "HEAD" or b"issuer" in response.data
    for path in ("/api/protected", "/api/notes", "/api/inner"):
        response = client.open(path, method=method, headers=headers)
        is_guarded = method in {"GET", "HEAD"} or (method, path) == ("POST", "/api/protected")
        assert (response.status_code == 421) == is_guarded, (method, path)
    assert not (tmp_path / "var").exists()


def test_browsers_get_a_page_and_programs_get_json(tmp_path: Path) -> None:
    client = make_api(tmp_path).test_client()

    page = client.get("/account/sign-in", headers={"Host": EVIL})
    endpoint = client.get(METADATA, headers={"Host": EVIL})
    guarded = client.get("/api/protected", headers={"Host": EVIL})

    assert "<h1>This server is not configured for this address</h1>" in page.text and "issuer" in page.text
    assert page.headers["Content-Security-Policy"] and page.headers["Cache-Control"] == "no-store"
    assert endpoint.get_json()["error"] == "invalid_request"
    assert guarded.content_type == "application/problem+json" and "issuer" in guarded.get_json()["detail"]
    with client.get("/oauth/pages/static/valetkey.css", headers={"Host": EVIL}) as style_sheet:
        assert style_sheet.status_code == 200
    assert not (tmp_path / "var").exists()


def test_the_hosts_own_views_and_health_endpoints_are_served_to_every_host(tmp_path: Path) -> None:
    app = make_api(tmp_path)
    health = Blueprint("valetkey_health", "health")
    health.add_url_rule("/livez", view_func=lambda: "alive", endpoint="livez")
    app.register_blueprint(health)
    client = app.test_client()

    for path in ("/", "/api/undecorated", "/api/public", "/livez"):
        assert client.get(path, headers={"Host": EVIL}).status_code == 200
    assert client.post("/api/notes", headers={"Host": EVIL}).status_code == 200
    assert client.get("/nothing", headers={"Host": EVIL}).status_code == 404
    assert not (tmp_path / "var").exists()


def test_denied_routes_are_refused_too(tmp_path: Path) -> None:
    client = make_api(tmp_path, protect_by_default=True).test_client()

    assert client.get("/api/undecorated", headers={"Host": EVIL}).status_code == 421


def test_the_app_without_a_host_app_is_refused_also_at_its_index_and_at_unknown_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client = create_app(env_prefix=None, embedded_worker=False).test_client()

    for path in ("/", "/nothing", METADATA, "/oauth/token", "/oauth/authorize"):
        assert client.get(path, headers={"Host": EVIL}).status_code == 421
    assert list(tmp_path.iterdir()) == []


def test_the_endpoints_before_flask_see_the_host_that_an_inner_proxyfix_sets(tmp_path: Path) -> None:
    """With ``ProxyFix`` inside, the middleware before Flask would see the proxy's loopback address as ``Host``."""
    app = Flask("api")
    app.wsgi_app = ProxyFix(app.wsgi_app, x_host=1)  # type: ignore[method-assign]
    Valetkey(app, data_dir=str(tmp_path / "var"), env_prefix=None, endpoints_bypass_flask=True, embedded_worker=False)
    headers = {"Host": "127.0.0.1:8000", "X-Forwarded-Host": EVIL}

    for method in ("GET", "POST"):
        assert app.test_client().open("/oauth/token", method=method, headers=headers).status_code == 421
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    ("trusted_proxies", "host", "forwarded_host", "status"),
    [
        ((), "127.0.0.1", "evil.example", 421),
        ((), "evil.example", "127.0.0.1", 421),
        (("10.0.0.0/8",), "evil.example", "127.0.0.1", 421),
        (("127.0.0.0/8",), "evil.example", "127.0.0.1", 200),
        (("127.0.0.0/8",), "127.0.0.1", "evil.example", 421),
        (("127.0.0.0/8",), "127.0.0.1", "localhost, evil.example", 421),
        (("127.0.0.0/8",), "127.0.0.1", "evil.example, localhost", 421),
        (("127.0.0.0/8",), "127.0.0.1", None, 200),
        (("127.0.0.0/8",), "evil.example", "", 421),
    ],
)
def test_x_forwarded_host_counts_if_it_comes_from_a_trusted_proxy(
    tmp_path: Path, trusted_proxies: tuple[str, ...], host: str, forwarded_host: str | None, status: int
) -> None:
    client = make_api(tmp_path, trusted_proxies=trusted_proxies).test_client()
    headers = {"Host": host} if forwarded_host is None else {"Host": host, "X-Forwarded-Host": forwarded_host}

    assert client.get(METADATA, headers=headers).status_code == status


@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize("issuer", ["https://id.example.com", "http://127.0.0.1:8000", "https://id.example.com/tenant"])
def test_with_an_issuer_every_host_is_served_and_nothing_comes_from_host(
    tmp_path: Path, issuer: str, bypass: bool
) -> None:
    client = make_api(tmp_path, issuer=issuer, endpoints_bypass_flask=bypass, security_contact="tel:1").test_client()
    paths = [*PAGES, *MACHINE_PATHS, "/llms.txt", "/.well-known/api-catalog", "/.well-known/security.txt"]
    paths += ["/.well-known/openid-configuration", "/.well-known/oauth-protected-resource", "/api/protected"]
    paths += ["/api/notes", "/oauth//authorize", "//account", "/oauth/nothing", "/api//protected", "/account/"]
    paths += ["/.well-known//openid-configuration", "//docs//", "/oauth//token"]
    for path in paths:
        for method in ("GET", "POST"):
            headers = {"Host": EVIL, "X-Forwarded-Host": EVIL, "Forwarded": f"host={EVIL}", "Origin": f"https://{EVIL}"}
            environ = {"PATH_INFO": path}  # the test client would take //account for a URL with a host
            response = client.open("/", method=method, headers=headers, environ_overrides=environ)
            assert response.status_code != 421, path
            assert EVIL not in response.text, path
            for name in SIGNS_OF_HOST:
                assert EVIL not in response.headers.get(name, ""), (path, name)
            assert not response.headers.get("Location", "/").startswith("//"), path


@pytest.mark.parametrize(
    ("issuer", "host", "is_logged"),
    [
        ("https://id.example.com", "id.example.com", False),
        ("https://id.example.com", "ID.example.com:443", False),
        ("https://id.example.com", "10.0.0.5:8000", True),
        ("https://id.example.com:8443", "id.example.com:8443", False),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000", "localhost:8000", False),
        ("http://127.0.0.1:8000", "localhost", False),
        ("http://[::1]:8000", "[::1]:5001", True),
        ("http://127.0.0.1:8000", "localhost:5001", True),
        (None, "127.0.0.1:5001", True),
        (None, "evil.example", True),
    ],
)
@pytest.mark.parametrize("bypass", [False, True])
def test_a_request_to_another_host_than_the_issuers_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, issuer: str | None, host: str, is_logged: bool, bypass: bool
) -> None:
    settings = {} if issuer is None else {"issuer": issuer}
    client = make_api(tmp_path, endpoints_bypass_flask=bypass, **settings).test_client()

    with caplog.at_level(logging.WARNING, "valetkey"):
        client.get("/", headers={"Host": "other.example"})  # the host's own view
        for path in (METADATA, "/account/sign-in", "/api/protected", METADATA):
            client.get(path, headers={"Host": host})

    assert caplog.text.count(f"a request was sent to the host {host!r}") == int(is_logged)
    assert caplog.text.count("a request was sent to the host") == int(is_logged)
    is_refused = issuer is None and host == EVIL
    assert caplog.text.count("set issuer to its URL") == int(is_logged and not is_refused)
    assert caplog.text.count("nothing needs to be done") == int(is_logged and not is_refused)
    assert caplog.text.count("refused with status 421: the issuer of this server is not set") == int(is_refused)


@pytest.mark.parametrize("bypass", [False, True])
@pytest.mark.parametrize("path", [METADATA, "/oauth/nothing", "/account", "/api/protected", "/api/inner"])
def test_the_log_has_the_reference_of_a_refused_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, bypass: bool
) -> None:
    client = make_api(tmp_path, endpoints_bypass_flask=bypass).test_client()

    with caplog.at_level(logging.INFO, "valetkey"):
        refused = client.get(path, headers={"Host": EVIL})

    [record] = [record for record in caplog.records if record.levelno == logging.INFO]
    assert refused.status_code == 421
    reference = record.__dict__["reference"]
    assert reference in refused.text or reference == refused.headers["Valetkey-Reference"]
    assert record.getMessage().startswith("responded with 421 at ")
    assert f"set issuer to the URL of this server, such as https://api.example.com [{reference}]" in caplog.text


def test_a_logged_host_cannot_break_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = make_api(tmp_path).test_client()
    with caplog.at_level(logging.WARNING, "valetkey"):
        client.get(METADATA, environ_overrides={"HTTP_HOST": "a\r\nb\x1b[31m" + "c" * 500})

    [message] = [message for message in caplog.messages if "was sent to the host" in message]
    assert "\n" not in message and "\x1b" not in message and "c" * 101 not in message


@pytest.mark.parametrize("settings", [{}, {"issuer": "http://127.0.0.1:8000"}], ids=["default issuer", "issuer"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize(
    "path", ["/account/sign-in", "/docs", "/oauth/token", "/oauth/nowhere", METADATA, "/api/public"]
)
def test_a_host_that_flask_does_not_trust_is_a_400_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], accept: str, path: str
) -> None:
    app = make_api(tmp_path, **settings)
    app.config["TRUSTED_HOSTS"] = ["127.0.0.1"]

    refused = app.test_client().get(path, headers={"Host": EVIL, "Accept": accept})

    assert refused.status_code == 400
    assert "Traceback" not in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
