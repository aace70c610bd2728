"""Fixtures: an OpenID Provider with accounts of Ada and Bob, and relying parties that are registered with it."""

from __future__ import annotations

from functools import partial

import pytest
from flask import Flask

from tests.conformance.registration import expect_refusal, http, post_registration, website  # noqa: F401  # fixtures
from tests.conformance.relying_party import MakeRelyingParty, RelyingParty, create_accounts, register_relying_party
from tests.support.app import MakeApp


@pytest.fixture
def provider(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    app = make_app(sqlite_store_url)
    create_accounts(app)
    return app


@pytest.fixture
def make_relying_party(provider: Flask) -> MakeRelyingParty:
    """Register a relying party with a client policy."""
    return partial(register_relying_party, provider)


@pytest.fixture
def rp(make_relying_party: MakeRelyingParty) -> RelyingParty:
    """A relying party; Ada is signed in in its browser."""
    party = make_relying_party()
    party.sign_in_as("ada")
    return party
