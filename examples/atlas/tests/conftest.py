"""Fixtures: the app with temporary databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from atlas import create_app, database
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete

pytest_plugins = ["valetkey.testing"]


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """One app for all tests, because filling its database takes a while. Valetkey's database is new in each test."""
    return create_app({"ATLAS_DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('atlas') / 'atlas.db'}"})


@pytest.fixture(autouse=True)
def _delete_lists(app: Flask) -> Iterator[None]:
    yield
    with app.app_context(), database.session() as session:
        session.execute(delete(database.PlaceList))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
