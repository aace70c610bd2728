"""Fixtures for a ``conftest.py``: a provider, an app whose users can sign in with it, and a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.support.app import MakeApp
from tests.support.clock import Clock
from tests.support.fake_provider import FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, browser_of
from valetkey.runtime import Runtime


@pytest.fixture
def provider(clock: Clock) -> Iterator[FakeProvider]:
    """An OpenID Provider."""
    with FakeProvider(clock) as provider:
        yield provider


@pytest.fixture
def app(make_app: MakeApp, store_url: str, provider: FakeProvider) -> Flask:
    """An app with sign-in by ``provider``, on the databases of ``store_url``."""
    return make_app(store_url, sign_in_with=[provider.provider()])


@pytest.fixture
def browser(app: Flask, provider: FakeProvider) -> ProviderBrowser:
    """A browser without cookies."""
    return browser_of(app, provider)


@pytest.fixture
def runtime(app: Flask) -> Runtime:
    """The runtime of ``app``."""
    runtime: Runtime = app.extensions["valetkey"]
    return runtime
