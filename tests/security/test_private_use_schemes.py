"""Redirect URIs with a scheme without a dot, such as ``cursor:``: only those that the operator admits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.app import MakeApp
from tests.support.browser_client import Browser
from tests.support.changing_client import with_cookies_of
from tests.support.prompts import assert_prompts
from valetkey.authorization_server.clients.operator_metadata import RegistrationRefused
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.protocol.redirect_uri import describe_destination, redirect_uri_problem
from valetkey.settings import Settings, SettingsError

CURSOR = "cursor://anysphere.cursor-mcp/oauth/callback"
MIXED = [CURSOR, "https://www.cursor.com/agents/mcp/oauth/callback", "https://cursor.com/agents/mcp/oauth/callback"]
METADATA = {
    "client_name": "Cursor",
    "redirect_uris": MIXED,
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
NEVER = ["http", "https", "javascript", "data", "file", "blob", "about", "intent", "ms-settings", "ms-word", "vbscript"]


def register(make_app: MakeApp, store_url: str, **settings: Any) -> tuple[Any, Any]:
    app = make_app(store_url, registration_policy="open", **settings)
    return app, app.test_client().post("/oauth/register", json=METADATA)


@pytest.mark.parametrize("settings", [{"baseline": "mcp"}, {"private_use_schemes": ("cursor",)}])
def test_a_client_with_an_admitted_scheme_beside_https_registers_and_is_prompted_each_time(
    ada: Browser, make_app: MakeApp, store_url: str, settings: dict[str, Any]
) -> None:
    app, registered = register(make_app, store_url, **settings)

    assert registered.status_code == 201, registered.text
    assert registered.json["redirect_uris"] == MIXED
    client = CreatedClient(registered.json["client_id"], None)
    assert_prompts(Browser(with_cookies_of(ada, app), client), CURSOR)


@pytest.mark.parametrize("settings", [{}, {"private_use_schemes": ("vscode", "cursor2", "curso")}])
def test_a_client_with_another_scheme_is_refused_and_the_refusal_names_the_uri(
    make_app: MakeApp, store_url: str, settings: dict[str, Any]
) -> None:
    _, refused = register(make_app, store_url, **settings)

    assert (refused.status_code, refused.json["error"]) == (400, "invalid_redirect_uri")
    assert CURSOR in refused.json["error_description"]


def test_only_policies_for_native_apps_may_have_an_admitted_scheme(make_app: MakeApp, store_url: str) -> None:
    runtime = make_app(store_url, private_use_schemes=("cursor",)).extensions["valetkey"]

    for policy, auth_method in (("native", "none"), ("agent", "none")):
        assert register_client(
            runtime, runtime.clock(), name="Cursor", policy=policy, redirect_uris=MIXED, auth_method=auth_method
        )
    for policy in ("web", "browser", "oidc-compat"):
        with pytest.raises(RegistrationRefused, match=r"cursor://anysphere\.cursor-mcp/oauth/callback.*not https"):
            register_client(runtime, runtime.clock(), name="Cursor", policy=policy, redirect_uris=MIXED)


def test_the_redirect_uri_of_a_request_must_be_the_registered_one_exactly(make_app: MakeApp, store_url: str) -> None:
    app, registered = register(make_app, store_url, baseline="mcp")
    browser = Browser(app.test_client(), CreatedClient(registered.json["client_id"], None))

    for uri in (f"{CURSOR}/", "cursor://anysphere.cursor-mcp:1/oauth/callback", CURSOR.upper(), "cursor://other"):
        assert browser.authorize(redirect_uri=uri).status_code == 400


@pytest.mark.parametrize("scheme", NEVER)
def test_a_dangerous_scheme_is_never_admitted(scheme: str) -> None:
    with pytest.raises(SettingsError, match=f"private_use_schemes: '{scheme}' cannot be admitted"):
        Settings(private_use_schemes=(scheme,))
    if scheme not in {"http", "https"}:
        assert redirect_uri_problem(f"{scheme}:x", native=True, private_use_schemes=(scheme,)) is not None


@pytest.mark.parametrize("scheme", ["Cursor", "cursor:", "cur sor", "", "1cursor", "cursor://"])
def test_what_is_no_scheme_is_refused(scheme: str) -> None:
    with pytest.raises(SettingsError, match="is not a scheme in lower case"):
        Settings(private_use_schemes=(scheme,))


def test_a_page_does_not_show_the_authority_of_a_private_use_uri_as_a_host() -> None:
    assert describe_destination("cursor://accounts.google.com/callback") == "cursor: (an app on your device)"
    assert describe_destination("https://cursor.com/callback") == "cursor.com"


def test_the_refusal_of_a_scheme_names_the_setting_that_admits_it() -> None:
    problem = redirect_uri_problem("myapp://back", native=True)

    assert problem is not None
    assert problem.endswith("or the operator must add it to the setting private_use_schemes")
