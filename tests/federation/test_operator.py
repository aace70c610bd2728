"""``valetkey users show`` and ``disconnect``: the providers of an account."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup

from tests.support.clock import Clock
from tests.support.fake_provider import FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, browser_of
from tests.support.store_assertions import dump_store
from valetkey.accounts.administration import remove_account
from valetkey.federation.links import disconnect_by_operator
from valetkey.runtime import Runtime
from valetkey.storage import accounts, audit, provider_links

EMAIL = "ada@example.org"
Run = Callable[..., Result]


@pytest.fixture
def run(app: Flask) -> Run:
    """Run a command of ``valetkey users`` for ``app``."""
    group = FlaskGroup(create_app=lambda: app)
    return lambda *arguments, **options: CliRunner().invoke(group, ["valetkey", "users", *arguments], **options)


def test_the_providers_of_a_user_are_shown(
    run: Run, browser: ProviderBrowser, provider: FakeProvider, clock: Clock
) -> None:
    browser.sign_in()

    shown = json.loads(run("show", EMAIL, "--json").output)

    assert shown["providers"] == [
        {
            "id": "example",
            "issuer": provider.issuer,
            "subject": "ada-1",
            "email": EMAIL,
            "connected_at": int(clock()),
            "signed_in_at": int(clock()),
        }
    ]


@pytest.mark.parametrize("names_issuer", [False, True])
def test_the_operator_disconnects_a_provider_and_its_sessions_end(
    run: Run, app: Flask, browser: ProviderBrowser, provider: FakeProvider, names_issuer: bool
) -> None:
    browser.sign_in(email_verified=False)

    result = run("disconnect", EMAIL, provider.issuer if names_issuer else "example", input="y\n")

    assert result.exit_code == 0, result.output
    assert "It is the only way to sign in to the account." in result.output
    assert not browser.is_signed_in()
    assert "There is already an account" in browser_of(app, provider).sign_in().text
    assert json.loads(run("show", EMAIL, "--json").output)["providers"] == []
    runtime: Runtime = app.extensions["valetkey"]
    assert "account.provider_disconnected" in [entry.row.event for entry in audit.list_latest(runtime.store, 9)]


def test_an_account_that_is_removed_before_the_operator_disconnects_it_leaves_no_rows(
    app: Flask, browser: ProviderBrowser
) -> None:
    """The command waits for an answer before it disconnects the provider."""
    browser.sign_in()
    runtime: Runtime = app.extensions["valetkey"]
    (account,) = accounts.list_all(runtime.store)
    (link,) = provider_links.list_of_account(runtime.store, account.sub)
    remove_account(account, runtime, runtime.clock())

    before = dump_store(runtime)

    disconnect_by_operator(link, runtime, runtime.clock())

    assert dump_store(runtime) == before


def test_the_operator_is_asked_before_and_told_what_comes_back(run: Run, browser: ProviderBrowser) -> None:
    browser.sign_in()

    result = run("disconnect", EMAIL, "example", input="n\n")

    assert result.exit_code == 1
    assert "Only the user can connect it again" in result.output
    assert browser.is_signed_in()
    assert "is not connected with github" in run("disconnect", EMAIL, "github", "--yes").output
