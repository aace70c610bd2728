"""``/docs``, ``/openapi.json`` and health checks of a ``ResourceServer``, with the metadata of its issuers."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import validate

from tests.resource_server.fake_issuer import OPENID_CONFIGURATION_PATH, RESOURCE, FakeIssuer
from tests.resource_server.standalone_api import StandaloneApi
from tests.support.clock import Clock
from valetkey import ResourceServer, public, require_oauth
from valetkey.resource_server.start_checks import route_problems

ISSUER = "https://id.example.com"


def _publish(issuer: FakeIssuer, **members: Any) -> None:
    """Let an issuer publish metadata with endpoints; ``None`` removes a member."""
    metadata = {
        **issuer.metadata,
        "authorization_endpoint": f"{issuer.url}/authorize",
        "token_endpoint": f"{issuer.url}/token",
        "grant_types_supported": ["authorization_code", "client_credentials"],
        **members,
    }
    published = {name: value for name, value in metadata.items() if value is not None}
    issuer.overridden_responses[OPENID_CONFIGURATION_PATH] = (200, published, {"Cache-Control": "max-age=300"})


def _openapi(api: StandaloneApi) -> dict[str, Any]:
    document: dict[str, Any] = api.app.test_client().get("/openapi.json").get_json()
    validate(document)
    return document


def test_the_document_has_the_security_scheme_of_the_issuer_from_its_metadata(clock: Clock) -> None:
    with FakeIssuer(clock) as issuer:
        _publish(issuer)
        document = _openapi(StandaloneApi(clock, issuer.url, scopes={"notes:read": "Read your notes"}))

        schemes = document["components"]["securitySchemes"]
        flows = schemes["oauth2"]["flows"]
        assert flows["authorizationCode"]["authorizationUrl"] == f"{issuer.url}/authorize"
        assert flows["authorizationCode"]["tokenUrl"] == flows["clientCredentials"]["tokenUrl"] == f"{issuer.url}/token"
        assert flows["clientCredentials"]["scopes"] == {"notes:read": "Read your notes", "notes:write": "notes:write"}
        assert schemes["bearer"]["description"] == f"An access token of {issuer.url}."
        assert document["paths"]["/api/notes"]["get"]["security"] == [
            {"oauth2": ["notes:read"]},
            {"bearer": ["notes:read"]},
        ]
        assert document["servers"] == [{"url": RESOURCE}]


def test_each_issuer_with_endpoints_has_a_security_scheme(clock: Clock) -> None:
    with FakeIssuer(clock) as first, FakeIssuer(clock) as second, FakeIssuer(clock) as without_endpoints:
        _publish(first, grant_types_supported=None)
        _publish(second, authorization_endpoint=None)
        document = _openapi(StandaloneApi(clock, first.url, without_endpoints.url, second.url))

        schemes = document["components"]["securitySchemes"]
        assert list(schemes) == ["oauth2", "oauth2_2", "bearer"]
        assert list(schemes["oauth2"]["flows"]) == ["authorizationCode"]
        assert list(schemes["oauth2_2"]["flows"]) == ["clientCredentials"]
        requirements = document["paths"]["/api/notes"]["get"]["security"]
        assert [name for requirement in requirements for name in requirement] == ["oauth2", "oauth2_2", "bearer"]


@pytest.mark.parametrize("url", ["http://id.example.com/token", "javascript:alert(1)", 5, ["https://a.example"]])
def test_a_url_in_the_metadata_that_is_not_https_is_not_repeated(clock: Clock, url: object) -> None:
    with FakeIssuer(clock) as issuer:
        _publish(issuer, token_endpoint=url)

        assert list(_openapi(StandaloneApi(clock, issuer.url))["components"]["securitySchemes"]) == ["bearer"]


def test_while_an_issuer_is_unreachable_the_document_has_no_urls_and_gets_them_later(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeIssuer(clock) as issuer:
        _publish(issuer)
        issuer.is_down = True
        api = StandaloneApi(clock, issuer.url)

        assert list(_openapi(api)["components"]["securitySchemes"]) == ["bearer"]
        assert f"the metadata of {issuer.url} cannot be fetched" in caplog.text
        issuer.is_down = False
        clock.forward(60)
        assert list(_openapi(api)["components"]["securitySchemes"]) == ["oauth2", "bearer"]


def test_an_unreachable_issuer_is_logged_once_until_it_responds_again(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeIssuer(clock) as issuer:
        _publish(issuer)
        issuer.is_down = True
        client = StandaloneApi(clock, issuer.url).app.test_client()
        for _ in range(3):
            client.get("/docs")
            clock.forward(60)
        assert caplog.text.count(f"the metadata of {issuer.url} cannot be fetched") == 1

        issuer.is_down = False
        client.get("/docs")
        issuer.is_down = True
        clock.forward(2 * 86_400)
        client.get("/docs")
        assert caplog.text.count(f"the metadata of {issuer.url} cannot be fetched") == 2


def test_the_reference_is_a_page_with_a_strict_policy_and_no_cookie(clock: Clock) -> None:
    with FakeIssuer(clock) as issuer:
        _publish(issuer)
        client = StandaloneApi(clock, issuer.url).app.test_client()
        page = client.get("/docs")

        assert page.status_code == 200
        assert f"Access token of {issuer.url}" in page.text
        assert "<code>/api/notes</code>" in page.text
        assert "/oauth/" not in page.text
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
        assert page.headers["X-Frame-Options"] == "DENY"
        assert "Set-Cookie" not in page.headers
        for file in ("/docs/static/reference.js", "/docs/static/reference.css", "/docs/pages/static/valetkey.css"):
            assert file in page.text
            with client.get(file) as response:
                assert response.status_code == 200


def test_documents_are_settings_and_a_route_of_the_app_with_their_path_is_refused(clock: Clock) -> None:
    off = StandaloneApi(clock, ISSUER, docs_path=None, openapi_path=None).app.test_client()
    assert [off.get(path).status_code for path in ("/docs", "/openapi.json")] == [404, 404]

    moved = StandaloneApi(clock, ISSUER, docs_path="/reference")
    moved.app.add_url_rule("/docs", "docs", public(lambda: "mine"))
    assert moved.app.test_client().get("/docs").text == "mine"

    taken = StandaloneApi(clock, ISSUER)
    taken.app.add_url_rule("/docs", "docs", public(lambda: "mine"))
    [problem] = route_problems(taken.app, taken.app.extensions["valetkey"].settings, None, None)
    assert problem.startswith("/docs is served by Valetkey and by the app's endpoint 'docs'")


def test_the_document_of_another_extension_gets_the_security_schemes(clock: Clock) -> None:
    with FakeIssuer(clock) as issuer:
        _publish(issuer)
        app = Flask("api")
        ResourceServer(
            app,
            trusted_issuers=[issuer.url],
            resource=RESOURCE,
            openapi=lambda: {"openapi": "3.1.0", "info": {"title": "Mine", "version": "2"}, "paths": {}},
            clock=clock,
            outbound_allowed_networks=("127.0.0.1/32",),
        )
        document = app.test_client().get("/openapi.json").get_json()

        assert document["info"] == {"title": "Mine", "version": "2"}
        assert list(document["components"]["securitySchemes"]) == ["oauth2", "bearer"]


HEALTH = {"health_path": "/healthz", "readiness_path": "/readyz"}


def test_health_checks_are_off_unless_set_and_report_unreachable_issuers(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeIssuer(clock) as issuer:
        assert StandaloneApi(clock, issuer.url).app.test_client().get("/healthz").status_code == 404

        client = StandaloneApi(clock, issuer.url, **HEALTH).app.test_client()
        ready = client.get("/readyz")
        assert client.get("/healthz").get_json() == {"status": "ok"}
        assert ready.get_json() == {
            "status": "ok",
            "checks": {"startup": "ok", "issuers": "ok", "counters": "ok"},
        }
        assert "Set-Cookie" not in ready.headers

        issuer.is_down = True
        degraded = StandaloneApi(clock, issuer.url, **HEALTH).app.test_client().get("/readyz")
        assert (degraded.status_code, degraded.get_json()["status"]) == (200, "degraded")
        assert degraded.get_json()["checks"] == {"startup": "ok", "issuers": "failed", "counters": "ok"}
        assert issuer.url not in degraded.text and issuer.url in caplog.text


def test_a_route_of_the_app_takes_precedence_over_a_health_check(clock: Clock) -> None:
    api = StandaloneApi(clock, ISSUER, **HEALTH)
    api.app.add_url_rule("/healthz", "healthz", public(lambda: "mine"))

    assert api.app.test_client().get("/healthz").text == "mine"


def test_the_page_reads_no_token_from_the_request(clock: Clock) -> None:
    app = Flask("api")
    ResourceServer(app, trusted_issuers=[ISSUER], resource=RESOURCE, site_name="<b>Hostile</b>", clock=clock)
    app.add_url_rule("/api/x", "x", require_oauth(lambda: ""))
    page = app.test_client().get("/docs?token=<script>", headers={"Authorization": "Bearer abc.def.ghi"})

    assert "<b>Hostile" not in page.text and "<script>" not in page.text and "abc.def.ghi" not in page.text
