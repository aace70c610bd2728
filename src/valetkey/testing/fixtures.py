"""The pytest fixtures of ``valetkey.testing``, for tests that use a fixture ``app``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from flask import Flask

from valetkey.runtime import Runtime
from valetkey.web.context import EXTENSION

from . import tokens
from .clock import Clock
from .temporary_store import PreparedStore, prepared_store, throw_away_store

# By app: fixtures that outlive a test and have generated tokens for the app, with their scopes.
_wider_fixtures: WeakKeyDictionary[Flask, dict[str, str]] = WeakKeyDictionary()


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
    """Record for which apps a fixture that outlives a test generates tokens, until the fixture is torn down."""
    apps: set[Flask] | None = None if fixturedef.scope == "function" else set()
    reset_token = tokens.apps_with_tokens.set(apps)
    yield
    tokens.apps_with_tokens.reset(reset_token)
    for app in apps or ():
        fixtures = _wider_fixtures.setdefault(app, {})
        fixtures[fixturedef.argname] = fixturedef.scope
        fixturedef.addfinalizer(partial(fixtures.pop, fixturedef.argname))


@pytest.fixture
def valetkey_clock() -> Clock:
    """The clock that the app uses in this test. It stands still; ``forward(seconds)`` advances it."""
    return Clock()


@pytest.fixture
def mint_token(app: Flask) -> Callable[..., str]:
    """Function ``mint_token(scope, user_id=..., ...)``, which returns an access token for the fixture ``app``.

    Its parameters are those of ``valetkey.testing.mint_token``.
    """
    return partial(tokens.mint_token, app)


@pytest.fixture
def headers_for(app: Flask) -> Callable[..., dict[str, str]]:
    """Function ``headers_for(scope, user_id=..., ...)``, which returns a header with a new access token for ``app``.

    Its parameters are those of ``valetkey.testing.mint_token``.
    """
    return partial(tokens.headers_for, app)


@pytest.fixture(scope="session")
def _valetkey_prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedStore:
    return prepared_store(tmp_path_factory.mktemp("valetkey"))


@pytest.fixture(autouse=True)
def _valetkey_temporary_store(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give each test that uses the fixture ``app`` a temporary database, so that no test writes to the app's own."""
    app = request.getfixturevalue("app") if "app" in request.fixturenames else None
    if not isinstance(app, Flask) or not isinstance(app.extensions.get(EXTENSION), Runtime):
        yield
        return
    for name, scope in _wider_fixtures.get(app, {}).items():
        if name in request.fixturenames:
            pytest.fail(
                f"the fixture {name} has the scope {scope!r}, but each test with the fixture app has its own database, "
                "in which its tokens are not valid: give it the scope 'function'",
                pytrace=False,
            )
    clock: Clock = request.getfixturevalue("valetkey_clock")
    prepared: PreparedStore = request.getfixturevalue("_valetkey_prepared")
    with throw_away_store(app, clock=clock, prepared=prepared):
        yield
