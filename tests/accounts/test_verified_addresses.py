"""``email`` and ``email_verified`` of apps are those of the account, whatever claims the operator has stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import FlaskGroup

from tests.support.browser_client import EMAIL
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.engine.transaction import Transaction

NEW_EMAIL = "boss@corp.example"
PASSWORD = "a violet tram in june"
Run = Callable[..., Result]


@pytest.fixture
def run(app: Flask, tmp_path: Path) -> Run:
    """Run a command of ``valetkey users``; ``claims`` are written to a file, whose path follows ``--claims``."""
    group = FlaskGroup(create_app=lambda: app)

    def run(*arguments: str, claims: dict[str, Any] | None = None, **options: Any) -> Result:
        if claims is not None:
            path = tmp_path / "claims.json"
            path.write_text(json.dumps(claims))
            arguments = (*arguments, "--claims", str(path))
        return CliRunner().invoke(group, ["valetkey", "users", *arguments], **options)

    return run


def create(run: Run, **claims: Any) -> None:
    created = run("create", "--email", EMAIL, "--password-stdin", claims=claims, input=f"{PASSWORD}\n")
    assert created.exit_code == 0, created.output


def address_claims(runtime: Runtime) -> dict[str, Any]:
    """Return what apps get about the address of the only account."""
    (account,) = accounts.list_all(runtime.store)
    return dict(runtime.owners.claims(account.sub, frozenset({"email"})))


def test_a_claim_of_the_operator_verifies_the_address_of_a_new_account(run: Run, runtime: Runtime) -> None:
    create(run, email=EMAIL, email_verified=True, locale="de")

    assert address_claims(runtime) == {"email": EMAIL, "email_verified": True}
    shown = json.loads(run("show", EMAIL, "--json").output)
    assert (shown["email_verified"], shown["claims"]) == (True, {"locale": "de"})


@pytest.mark.parametrize("claims", [{}, {"email_verified": False}])
def test_the_address_of_a_new_account_is_not_verified_without_a_claim(
    run: Run, runtime: Runtime, claims: dict[str, Any]
) -> None:
    create(run, **claims)

    assert address_claims(runtime) == {"email": EMAIL, "email_verified": False}


def test_a_new_address_is_not_verified_although_the_one_before_was(run: Run, runtime: Runtime) -> None:
    create(run, email=EMAIL, email_verified=True)

    assert run("update", EMAIL, "--email", NEW_EMAIL, "--yes").exit_code == 0

    assert address_claims(runtime) == {"email": NEW_EMAIL, "email_verified": False}


def test_the_operator_withdraws_the_verification(run: Run, runtime: Runtime) -> None:
    create(run, email_verified=True)

    changed = run("update", EMAIL, "--not-verified", "--yes")

    assert "email_verified: true -> false" in changed.output
    assert address_claims(runtime) == {"email": EMAIL, "email_verified": False}


@pytest.mark.parametrize(
    ("options", "claim", "is_verified"),
    [((), True, True), ((), False, False), (("--not-verified",), True, False), (("--verified",), False, True)],
)
def test_new_claims_change_whether_the_address_is_verified_unless_an_option_does(
    run: Run, runtime: Runtime, options: tuple[str, ...], claim: bool, is_verified: bool
) -> None:
    create(run, email_verified=not claim)

    changed = run("update", EMAIL, *options, "--yes", claims={"email_verified": claim})

    assert changed.exit_code == 0, changed.output
    assert address_claims(runtime)["email_verified"] is is_verified


def test_new_claims_without_email_verified_leave_the_address_verified(run: Run, runtime: Runtime) -> None:
    create(run, email_verified=True)

    run("update", EMAIL, "--yes", claims={"locale": "de"})

    assert address_claims(runtime)["email_verified"] is True


def test_an_account_without_an_address_cannot_have_a_verified_one(run: Run, runtime: Runtime) -> None:
    create(run)
    (account,) = accounts.list_all(runtime.store)
    runtime.store.write(Transaction(accounts.remove_unverified_email(account.sub, EMAIL)))

    refused = run("update", account.sub, "--yes", claims={"email_verified": True})

    assert refused.exit_code == 1
    assert "the account has no e-mail address: add one" in refused.output


@pytest.mark.parametrize("email", [EMAIL, None])
def test_stored_claims_do_not_override_the_address(runtime: Runtime, email: str | None) -> None:
    claims = {"email": "eve@example.org", "email_verified": True}
    runtime.store.write(Transaction(accounts.add("ada", EMAIL, "Ada", None, runtime.clock(), claims)))
    if email is None:
        runtime.store.write(Transaction(accounts.remove_unverified_email("ada", EMAIL)))

    assert address_claims(runtime) == ({"email": EMAIL, "email_verified": False} if email else {})
