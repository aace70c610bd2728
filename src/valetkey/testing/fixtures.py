"""The pytest fixtures of ``valetkey.testing``, for tests that use a fixture ``app``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from flask import Flask

from valetkey.web.context import EXTENSION

from . import tokens
from .clock import Clock
from .temporary_store import PreparedStore, prepared_store, throw_away_store


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
    if not isinstance(app, Flask) or EXTENSION not in app.extensions:
        yield
        return
    clock: Clock = request.getfixturevalue("valetkey_clock")
    prepared: PreparedStore = request.getfixturevalue("_valetkey_prepared")
    with throw_away_store(app, clock=clock, prepared=prepared):
        yield
