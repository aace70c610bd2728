"""What pytest gives to tests that ask for a fixture ``app``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from flask import Flask

from valetkey.web.context import EXTENSION

from . import tokens as minted
from .clock import Clock
from .temporary_store import PreparedStore, prepared_store, throw_away_store


@pytest.fixture
def valetkey_clock() -> Clock:
    """The clock that tokens and limits go by in this test."""
    return Clock()


@pytest.fixture
def mint_token(app: Flask) -> Callable[..., str]:
    """``mint_token(scope, user_id=..., ...)``: an access token for ``app``; see ``valetkey.testing.mint_token``."""
    return partial(minted.mint_token, app)


@pytest.fixture
def headers_for(app: Flask) -> Callable[..., dict[str, str]]:
    """``headers_for(scope, user_id=..., ...)``: the headers of a call with such a token."""
    return partial(minted.headers_for, app)


@pytest.fixture(scope="session")
def _valetkey_prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedStore:
    return prepared_store(tmp_path_factory.mktemp("valetkey"))


@pytest.fixture(autouse=True)
def _valetkey_temporary_store(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test that asks for ``app`` has a store of its own: none can forget to and fill the real one."""
    app = request.getfixturevalue("app") if "app" in request.fixturenames else None
    if not isinstance(app, Flask) or EXTENSION not in app.extensions:
        yield
        return
    clock: Clock = request.getfixturevalue("valetkey_clock")
    prepared: PreparedStore = request.getfixturevalue("_valetkey_prepared")
    with throw_away_store(app, clock=clock, prepared=prepared):
        yield
