"""docs/own_users.md: its programs sign users in, and its tables match the interface."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask import Flask
from flask_security import hash_password

from tests.support.fixtures import StartProvider
from tests.support.program import free_port
from tests.support.readme_blocks import find_blocks, read_page
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey import Owner, ResourceOwners
from valetkey.protocol.resource_owner import SupportsSignOut

PAGE = read_page("own_users.md")

StartProgram = Callable[[str], dict[str, Any]]


@pytest.fixture
def start_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartProgram]:
    """Run the program of a section and return its names; its data is in a temporary folder."""
    monkeypatch.chdir(tmp_path)
    apps: list[Flask] = []

    def start(section: str) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "own_users"}
        (program,) = find_blocks(section, "python", PAGE)
        exec(compile(program, "own_users.md", "exec"), names)
        apps.append(names["app"])
        names["app"].extensions["valetkey"].get_ready()
        return names

    yield start
    for app in apps:
        app.extensions["valetkey"].close()


def test_a_function_redirects_to_the_sign_in_page_and_returns_the_user(start_program: StartProgram) -> None:
    browser = start_program("A function")["app"].test_client()

    assert browser.get("/account").location == "/login?next=%2Faccount"
    with browser.session_transaction() as session:
        session["user_id"] = "ada"
    assert browser.get("/account").status_code == 200


def test_a_user_of_flask_login_signs_in_and_out(start_program: StartProgram) -> None:
    names = start_program("Flask-Login")
    app, users, browser = names["app"], names["Users"](), names["app"].test_client()

    redirect = browser.get("/account")
    assert redirect.location == "/login?next=/account"
    assert "password" in browser.get(redirect.location).text
    assert browser.post(redirect.location, data={"password": "correct horse"}).location == "/account"
    page = browser.get("/account")
    assert (page.status_code, "Ada" in page.text) == (200, True)
    with browser.session_transaction() as session:
        signed_in_at = session["signed_in_at"]
    with app.test_request_context(headers={"Cookie": f"session={browser.get_cookie('session').value}"}):
        assert users.current() == Owner("1", auth_time=signed_in_at, name="Ada")
    assert (users.find("1"), users.find("2")) == (Owner("1", name="Ada"), None)

    assert browser.post("/login?next=//evil.example", data={"password": "correct horse"}).location == "/"


def test_a_user_of_flask_security_signs_in(start_program: StartProgram) -> None:
    names = start_program("Flask-Security")
    app, security = names["app"], names["app"].security
    app.config["WTF_CSRF_ENABLED"] = False
    with app.app_context():
        names["db"].create_all()
        security.datastore.create_user(email="ada@example.com", password=hash_password("correct horse"))
        names["db"].session.commit()
    browser = app.test_client()

    redirect = browser.get("/account")
    assert redirect.location == "/login?next=/account"
    form = {"email": "ada@example.com", "password": "correct horse"}
    assert browser.post(redirect.location, data=form).location == "/account"
    page = browser.get("/account")
    assert (page.status_code, "ada@example.com" in page.text) == (200, True)


def test_a_user_of_another_provider_signs_in(
    start_openid_provider: StartProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    provider = start_openid_provider(f"http://127.0.0.1:{port}/callback")
    monkeypatch.setenv("OIDC_ISSUER", provider.issuer)
    monkeypatch.setenv("OIDC_CLIENT_ID", provider.client_id)
    monkeypatch.setenv("OIDC_CLIENT_SECRET", provider.client_secret)
    (program,) = find_blocks("Google or another OpenID Provider only", "python", PAGE)
    (tmp_path / "app.py").write_text(program)

    with (
        RunningServer(Deployment(tmp_path, app=tmp_path / "app.py", port=port)) as server,
        httpx.Client(timeout=20) as browser,
    ):
        page = provider.sign_in(browser, f"{server.url}/account")

    assert (str(page.url), page.status_code) == (f"{server.url}/account", 200)


def test_the_tables_have_every_method_and_field_of_the_interface() -> None:
    methods = [ResourceOwners.current, ResourceOwners.sign_in_url, ResourceOwners.find, ResourceOwners.claims]
    for method in [*methods, SupportsSignOut.sign_out]:
        signature = str(inspect.signature(method)).replace("'", "").replace("|", "\\|")
        assert f"| `{method.__name__}{signature}` |" in PAGE
    listed = re.findall(
        r"`(\w+)`(?=[^|]*\|[^|]*\|$)", PAGE.split("| field of `Owner` |")[1].split("## ")[0], re.MULTILINE
    )
    assert listed == [field.name for field in fields(Owner)]
