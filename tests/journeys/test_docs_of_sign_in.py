"""docs/sign_in_with_google.md: its programs start, and its environment variables name providers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from flask import Flask

from tests.journeys.checkout import activated_environment, search_log
from tests.support.program import Program, accepts_connections, free_port
from tests.support.readme_blocks import FIVE_MINUTES_PROGRAMS, find_blocks, read_page
from tests.support.user import User
from valetkey import Apple, Google, Microsoft, OpenIDProvider, Valetkey
from valetkey.settings import SettingsError

PAGE = read_page("sign_in_with_google.md")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
OPENID = '{"issuer": "https://a.example", "client_id": "a", "client_secret": "b", "name": "A"'
VARIABLES = find_blocks("Without code", "sh", PAGE)


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_each_program_has_the_buttons_of_its_providers(
    program: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(program, "sign_in_with_google.md", "exec"), names)
    app = names["app"]

    text = app.test_client().get("/account/sign-in").text

    app.extensions["valetkey"].close()
    providers = app.extensions["valetkey"].settings.sign_in_with
    assert re.findall(r'id="continue-([a-z]+)"', text) == [provider.provider_id for provider in providers]
    assert ('type="password"' in text) == ("password_sign_in=False" not in program)


def settings_of(block: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set the variables of a block, and return the settings of an app."""
    for name, value in re.findall(r"^export (\w+)=('[^']*'|\S+)", block, re.MULTILINE):
        monkeypatch.setenv(name, value.strip("'"))
    app = Flask("page")
    Valetkey(app)
    return app.extensions["valetkey"].settings


def test_two_variables_name_google(monkeypatch: pytest.MonkeyPatch) -> None:
    (provider,) = settings_of(VARIABLES[0], monkeypatch).sign_in_with

    assert (provider.provider_id, provider.client_id) == ("google", "1234-abcd.apps.googleusercontent.com")


def test_a_variable_has_several_providers_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_CLIENT_ID", "not used")
    monkeypatch.setenv("OIDC_CLIENT_SECRET", "not used")

    providers = settings_of(VARIABLES[1], monkeypatch).sign_in_with

    assert [provider.provider_id for provider in providers] == ["google", "example"]
    assert providers[1].issuer == "https://id.example.com"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("google", "must be a JSON array"),
        ('{"provider": "google"}', "must be a JSON array"),
        ('[{"provider": "gogle"}]', "the provider 'gogle' must be one of openid, google"),
        ('[{"provider": "google", "client_id": "a"}]', "missing 1 required positional argument: 'client_secret'"),
        ('[{"provider": "google", "client_id": "a", "client_secret": "b", "secret": "c"}]', "argument 'secret'"),
        ('[{"provider": "google", "client_id": "a", "client_secret": ""}]', "Google: client_secret is missing"),
        ('[{"issuer": "http://id.example.com", "client_id": "a", "client_secret": "b", "name": "A"}]', "use https"),
        ('[{"issuer": 7, "client_id": "a", "client_secret": "b", "name": "A"}]', "issuer must be text"),
        ('[{"issuer": "https://a.example", "client_id": "a", "client_secret": "b", "name": ""}]', "the name is empty"),
        ("[7]", "must be a list of providers"),
        ('[{"provider": ["google"]}]', "the provider ['google'] must be one of openid, google"),
        ('[{"provider": "github", "client_id": "a", "client_secret": "b", "url": 5}]', "the issuer '5' cannot be used"),
        (
            '[{"provider": "google", "client_id": "a", "client_secret": "b", "keep_tokens": "no"}]',
            "must be true or false",
        ),
        (f'[{OPENID}, "authorization_parameters": {{"state": "x"}}}}]', "must not have state"),
        (f'[{OPENID}, "authorization_parameters": {{"max_age": "x"}}}}]', "must be a number of seconds"),
        (f'[{OPENID}, "authorization_parameters": "x"}}]', "must have names and values that are text"),
        (
            '[{"provider": "google", "client_id": "a", "client_secret": "b", "sign_up": "example.com"}]',
            "sign_up must be true, false or a list of domains",
        ),
    ],
)
def test_a_wrong_variable_is_a_sentence_without_the_secret(
    monkeypatch: pytest.MonkeyPatch, value: str, problem: str
) -> None:
    monkeypatch.setenv("VALETKEY_SIGN_IN_WITH", value)

    with pytest.raises(SettingsError, match=re.escape(problem)) as raised:
        settings_of("", monkeypatch)
    assert '"b"' not in str(raised.value)


def test_two_providers_with_one_id_or_issuer_are_a_problem() -> None:
    with pytest.raises(SettingsError, match="two providers have the id 'google'"):
        Valetkey(Flask("page"), sign_in_with=[Google("a", "b"), Google("c", "d")])
    with pytest.raises(SettingsError, match="users cannot sign in"):
        Valetkey(Flask("page"), password_sign_in=False)
    with pytest.raises(SettingsError, match="remove it, or resource_owner"):
        Valetkey(Flask("page"), sign_in_with=[Google("a", "b")], resource_owner=lambda: None)


@pytest.mark.parametrize("value", ["", None])
def test_a_client_id_without_a_secret_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str | None
) -> None:
    monkeypatch.setenv("OIDC_CLIENT_ID", "a")
    if value is not None:
        monkeypatch.setenv("OIDC_CLIENT_SECRET", value)
    app = Flask("page")
    Valetkey(app)

    assert app.extensions["valetkey"].settings.sign_in_with == ()
    assert "environment variables without effect: OIDC_CLIENT_ID: set OIDC_CLIENT_SECRET, too" in caplog.text


def test_a_user_of_a_second_valetkey_signs_in(tmp_path: Path) -> None:
    ports = {"8000": str(free_port()), "8100": str(free_port())}
    provider_commands, program_commands = find_blocks("Try it on your machine", "sh", PAGE)
    (tmp_path / "app.py").write_text(FIVE_MINUTES_PROGRAMS[0])

    def start(commands: str, port: str) -> Program:
        for original, replacement in ports.items():
            commands = commands.replace(original, replacement)
        return Program(
            ["bash", "-ec", commands],
            log=tmp_path / f"{port}.log",
            is_ready=lambda: accepts_connections(int(ports[port])),
            environment=activated_environment(),
            cwd=tmp_path,
        )

    provider = start(provider_commands, "8100")
    try:
        (secret,) = search_log(provider.log, r"client_secret: (\S+)")
        program_commands = program_commands.replace("vk_cs_...", secret).replace(
            "app.py", f"app.py --port {ports['8000']}"
        )
        program = start(program_commands, "8000")
        try:
            with User(*search_log(provider.log, r"User:\s+(\S+)\s+password: (\S+)")) as demo:
                sign_in = demo.get_page(f"http://127.0.0.1:{ports['8000']}/account/sign-in")
                page = demo.press(sign_in, "continue-openid")
                page = demo.get_page(urljoin(str(page.url), demo.sign_in(page).headers["location"]))
                page = demo.press(page, "allow")
            assert (str(page.url), page.status_code) == (f"http://127.0.0.1:{ports['8000']}/account", 200)
        finally:
            program.kill()
    finally:
        provider.kill()


@pytest.mark.parametrize("issuer", ["", " https://accounts.google.com ", "https://accounts.google.com/"])
def test_the_issuer_of_google_is_google(monkeypatch: pytest.MonkeyPatch, issuer: str) -> None:
    monkeypatch.setenv("OIDC_ISSUER", issuer)

    (provider,) = settings_of(VARIABLES[0], monkeypatch).sign_in_with

    assert isinstance(provider, Google)


def test_no_constructor_prints_a_secret() -> None:
    providers = [
        Google("a", "s3cret"),
        Microsoft("t", "a", "s3cret"),
        OpenIDProvider("https://id.example.com", "a", "s3cret", name="A"),
        Apple("a", team_id="T", key_id="K", private_key="s3cret"),
    ]

    assert "s3cret" not in repr(providers)


def test_the_variables_of_a_host_with_own_users_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OIDC_CLIENT_ID", "a")
    monkeypatch.setenv("OIDC_CLIENT_SECRET", "b")
    app = Flask("page")
    Valetkey(app, resource_owner=lambda: None)

    assert app.extensions["valetkey"].settings.sign_in_with == ()
