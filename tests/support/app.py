"""The Flask app of the in-process tests: encryption key, database, API routes, and the types of its fixtures."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from flask import Flask, jsonify

from tests.support.browser_client import SCOPES
from tests.support.clock import Clock
from valetkey import Valetkey, current_token, public, require_oauth
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.runtime import Runtime, prepare_store

ENCRYPTION_KEY = base64.b64encode(b"k" * 32).decode()

MakeApp = Callable[..., Flask]  # the fixture make_app: (database_url, **settings)
Register = Callable[..., CreatedClient]  # the fixture register: (policy="web", **client_metadata)


def prepare_database(url: str) -> None:
    """Create the tables and the signing keys in an empty database."""
    app = Flask("prepared")
    Valetkey(app, database_url=url, encryption_keys=(ENCRYPTION_KEY,), scopes=SCOPES, clock=Clock())
    runtime: Runtime = app.extensions["valetkey"]
    runtime.clock = Clock()  # type: ignore[assignment]  # PostgreSQL's own clock would correct it
    runtime.on_store_created.clear()  # do not create the command line's client: tests count clients
    prepare_store(runtime)
    runtime.close()


def add_api_routes(app: Flask) -> None:
    """Add the API routes of ``examples/quickstart``."""

    @app.get("/api/public")
    @public(limit="60/minute")
    def public_api() -> Any:
        return jsonify(message="Welcome")

    @app.get("/api/protected")
    @require_oauth("profile")
    def protected_api() -> Any:
        return jsonify(user=current_token.user_id, client=current_token.client_id)
