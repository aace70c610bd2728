"""Changes of accounts by the operator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.browser_client import EMAIL
from tests.support.clock import Clock
from valetkey.accounts.administration import change_account
from valetkey.accounts.errors import SignInRefused
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.engine.transaction import Transaction


@pytest.mark.parametrize("values", [{"email": "new@example.org"}, {"name": "Countess"}, {"email_verified_at": 5.0}])
def test_a_change_does_not_bring_back_what_somebody_else_has_changed_since_the_account_was_shown(
    runtime: Runtime, clock: Clock, values: dict[str, Any]
) -> None:
    """For example the address of a mailbox that a stranger has taken over."""
    runtime.store.write(Transaction(accounts.add("ada", EMAIL, "Ada", None, clock())))
    shown = accounts.find(runtime.store, "ada")
    assert shown
    change_account(shown, replace(shown, **values), runtime.store, clock())
    changed = accounts.find(runtime.store, "ada")

    with pytest.raises(SignInRefused, match="Nothing was written"):
        change_account(shown, replace(shown, claims='{"locale":"de"}'), runtime.store, clock())

    assert accounts.find(runtime.store, "ada") == changed


def test_an_account_that_has_lost_its_address_gets_another_one(runtime: Runtime, clock: Clock) -> None:
    runtime.store.write(Transaction(accounts.add("ada", EMAIL, "Ada", None, clock())))
    assert runtime.store.write(Transaction(accounts.remove_unverified_email("ada", EMAIL)))
    account = accounts.find(runtime.store, "ada")
    assert account and account.email is None

    change_account(account, replace(account, email="new@example.org"), runtime.store, clock())

    changed = accounts.find_by_email(runtime.store, "new@example.org")
    assert changed and changed.sub == "ada"
