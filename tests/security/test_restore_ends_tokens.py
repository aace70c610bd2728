"""What was issued before a restore is refused after it, also by running processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask

from tests.support.app import ENCRYPTION_KEY, MakeApp
from tests.support.browser_client import CALLBACK, Browser, redirect_parameters, sign_in_new_account, sign_in_to_account
from tests.support.clock import Clock
from valetkey.authorization_server.clients.initial_access_token import create_initial_access_token
from valetkey.authorization_server.personal_tokens.service import TokenSpec, create_personal_token
from valetkey.cli import main
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import resources
from valetkey.storage.engine.backup import back_up
from valetkey.storage.engine.transaction import Transaction
from valetkey.tokens.revoke_all import revoke_everything

METADATA = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none", "client_name": "Other"}


@pytest.fixture
def store_url(unshared_store_url: str) -> str:
    return unshared_store_url  # its signing keys are replaced


class Credentials:
    """One of each kind of credential that Ada, her app and the operator can have, all of them valid."""

    def __init__(self, browser: Browser, runtime: Runtime) -> None:
        self.browser, self.runtime = browser, runtime
        now = runtime.clock()
        self.jwt = browser.obtain_tokens()
        self.unused_code = browser.obtain_code()
        resource = runtime.settings.api_resource
        runtime.store.write(Transaction(rows=(resources.upsert(resource, {"token_format": "opaque"}, now),)))
        runtime.resources.invalidate()
        self.opaque = browser.obtain_tokens()
        assert self.opaque["access_token"].startswith("vk_at_")
        spec = TokenSpec("Backup", frozenset({"profile"}), now + 30 * 86_400)
        self.personal = create_personal_token(spec, Owner("ada"), runtime, now, None).secret.reveal()
        self.initial = create_initial_access_token(
            runtime.store, runtime.clock(), policy="browser", lifetime_s=86_400, max_uses=5
        ).reveal()
        registered = self.register(browser)
        assert registered.status_code == 201, registered.text
        self.registration = registered.json or {}

    def register(self, browser: Browser):  # type: ignore[no-untyped-def]
        headers = {"Authorization": f"Bearer {self.initial}"}
        return browser.http.post("/oauth/register", json=METADATA, headers=headers)

    def uses(self, browser: Browser) -> dict[str, Callable[[], bool]]:
        """Return functions that use a credential in a browser's app, and return whether it was accepted."""
        registration_headers = {"Authorization": f"Bearer {self.registration['registration_access_token']}"}
        path = self.registration["registration_client_uri"]
        return {
            "JWT": lambda: browser.call(self.jwt["access_token"]).status_code == 200,
            "opaque token": lambda: browser.call(self.opaque["access_token"]).status_code == 200,
            "introspected token": lambda: bool(browser.introspect(self.opaque["access_token"]).json["active"]),
            "personal access token": lambda: browser.call(self.personal).status_code == 200,
            "session": lambda: browser.http.get("/account").status_code == 200,
            "session and consent": lambda: "code" in redirect_parameters(browser.authorize()),
            "registration access token": lambda: (
                browser.http.get(path, headers=registration_headers).status_code == 200
            ),
        }

    def single_uses(self, browser: Browser) -> dict[str, Callable[[], bool]]:
        """Return functions that use what can be used once, in a browser's app."""
        return {
            "code": lambda: browser.redeem(self.unused_code).status_code == 200,
            "refresh token": lambda: browser.refresh(self.jwt["refresh_token"]).status_code == 200,
            "initial access token": lambda: self.register(browser).status_code == 201,
        }


@pytest.fixture
def credentials(ada: Browser, runtime: Runtime) -> Credentials:
    return Credentials(ada, runtime)


def clone(ada: Browser, app: Flask) -> Browser:
    """Return Ada's browser with its cookies, as it uses another process of the same service."""
    browser = Browser(app.test_client(), ada.client)
    for name in ("valetkey_browser", "valetkey_session"):
        cookie = ada.http.get_cookie(name)
        assert cookie is not None
        browser.http.set_cookie(name, cookie.value)
    return browser


def accepted(uses: dict[str, Callable[[], bool]]) -> list[str]:
    return [name for name, is_accepted in uses.items() if is_accepted()]


def test_a_running_process_refuses_everything_within_a_second(
    credentials: Credentials, ada: Browser, runtime: Runtime, make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    other_process = clone(ada, make_app(store_url))
    uses = credentials.uses(other_process)
    assert accepted(uses) == list(uses)  # its caches have everything now

    revoke_everything(runtime.store, runtime.cipher, runtime.clock(), "tokens.all_revoked")
    clock.forward(1.0)

    assert accepted({**uses, **credentials.single_uses(other_process)}) == []
    assert ada.call().status_code == 401


def test_an_app_works_as_before_after_everything_was_revoked(
    credentials: Credentials, ada: Browser, runtime: Runtime, make_app: MakeApp, store_url: str
) -> None:
    revoke_everything(runtime.store, runtime.cipher, runtime.clock(), "tokens.all_revoked")

    browser = Browser(make_app(store_url).test_client(), ada.client)
    sign_in_new_account(browser, runtime, "new@example.org", "New")
    assert "/consent/" in browser.authorize().location  # also for a scope that was allowed before
    tokens = browser.obtain_tokens()
    assert browser.call(tokens["access_token"]).status_code == 200
    assert browser.refresh(tokens["refresh_token"]).status_code == 200


def test_consent_is_requested_again(credentials: Credentials, ada: Browser, runtime: Runtime) -> None:
    assert "/consent/" not in ada.authorize().location
    revoke_everything(runtime.store, runtime.cipher, runtime.clock(), "tokens.all_revoked")
    ada.http.get("/account/sign-out")

    assert "/consent/" in sign_in_to_account(ada, runtime, "ada").authorize().location


@pytest.fixture
def restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_store_url: str
) -> Callable[[Path, list[Runtime]], Callable[..., None]]:
    """Return a function that stops the runtimes and runs ``valetkey restore`` on the database of the test."""
    monkeypatch.setenv("VALETKEY_DATABASE_URL", sqlite_store_url)
    monkeypatch.setenv("VALETKEY_ENCRYPTION_KEYS", ENCRYPTION_KEY)

    def run(file: Path, runtime: Runtime, *options: str) -> None:
        runtime.close()
        result = CliRunner().invoke(main, ["restore", str(file), "--yes", *options])
        assert result.exit_code == 0, result.output

    return run


@pytest.mark.parametrize("unshared_store_url", ["sqlite"], indirect=True)
def test_after_a_restore_nothing_from_before_or_after_the_backup_is_accepted(
    ada: Browser, runtime: Runtime, make_app: MakeApp, store_url: str, restore, tmp_path: Path
) -> None:
    in_backup = Credentials(ada, runtime)
    back_up(store_url, tmp_path / "backup.db")
    runtime.store.write(Transaction(rows=(resources.upsert(runtime.settings.api_resource, {}, runtime.clock()),)))
    runtime.resources.invalidate()
    later = ada.obtain_tokens()
    assert later["access_token"].startswith("eyJ")  # nothing in the backup knows this token

    restore(tmp_path / "backup.db", runtime)

    browser = clone(ada, make_app(store_url))
    assert accepted({**in_backup.uses(browser), **in_backup.single_uses(browser)}) == []
    assert browser.call(later["access_token"]).status_code == 401
    assert browser.refresh(later["refresh_token"]).status_code == 400


@pytest.mark.parametrize("unshared_store_url", ["sqlite"], indirect=True)
def test_keep_tokens_keeps_what_was_valid_when_the_backup_was_made(
    ada: Browser, runtime: Runtime, make_app: MakeApp, store_url: str, restore, tmp_path: Path
) -> None:
    in_backup = Credentials(ada, runtime)
    back_up(store_url, tmp_path / "backup.db")
    ada.revoke(in_backup.opaque["access_token"])

    restore(tmp_path / "backup.db", runtime, "--keep-tokens")

    browser = clone(ada, make_app(store_url))
    uses = {**in_backup.uses(browser), **in_backup.single_uses(browser)}
    assert accepted(uses) == list(uses)
