"""An OpenID Provider that knows Ada and Bob, and a relying party that has been registered with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask

from tests.conformance.registration import enrol, http, refuse, site  # noqa: F401  # fixtures
from tests.conformance.relying_party import ADA_CLAIMS, RelyingParty
from tests.conftest import MakeApp
from tests.support.browser_client import CALLBACK, EMAIL
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.engine.transaction import Transaction

MakeRelyingParty = Callable[..., RelyingParty]


def create_accounts(app: Flask) -> None:
    """Let Ada, of whom everything is known, and Bob, of whom nothing is, have accounts at an app."""
    runtime: Runtime = app.extensions["valetkey"]
    for sub, email, name, claims in (("ada", EMAIL, "Ada Lovelace", ADA_CLAIMS), ("bob", "bob@example.org", "", {})):
        assert runtime.store.write(Transaction(accounts.add(sub, email, name, None, runtime.clock(), claims=claims)))


def register_relying_party(app: Flask, policy: str = "web", **metadata: Any) -> RelyingParty:
    """A relying party of an app, with a browser in which nobody is signed in."""
    runtime: Runtime = app.extensions["valetkey"]
    metadata.setdefault("redirect_uris", [CALLBACK])
    client = register_client(runtime, name=metadata.pop("name", "Shop"), policy=policy, **metadata)
    return RelyingParty(app.test_client(), client, runtime)


@pytest.fixture
def provider(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    app = make_app(sqlite_store_url)
    create_accounts(app)
    return app


@pytest.fixture
def relying_party(provider: Flask) -> MakeRelyingParty:
    """Register a relying party under a policy."""
    return partial(register_relying_party, provider)


@pytest.fixture
def rp(relying_party: MakeRelyingParty) -> RelyingParty:
    """A relying party in whose browser Ada is signed in."""
    made = relying_party()
    made.sign_in_as("ada")
    return made
