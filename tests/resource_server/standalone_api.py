"""A ``ResourceServer`` with an API of a few routes, and a method that calls it."""

from __future__ import annotations

from typing import Any

from flask import Flask, jsonify
from werkzeug.test import TestResponse

from tests.resource_server.fake_issuer import RESOURCE
from tests.support.clock import Clock
from valetkey import ResourceServer, TrustedIssuer, current_token, public, require_oauth


class StandaloneApi:
    def __init__(self, clock: Clock, *issuers: str | TrustedIssuer, **settings: Any) -> None:
        self.app = Flask("api")
        options = {"resource": RESOURCE, "outbound_allowed_networks": ("127.0.0.1/32",), **settings}
        ResourceServer(self.app, trusted_issuers=issuers, clock=clock, **options)
        add_routes(self.app)

    def call(self, token: str | None, path: str = "/api/notes") -> TestResponse:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.app.test_client().get(path, headers=headers)

    def accepts(self, token: str) -> bool:
        return self.call(token).status_code == 200


def add_routes(app: Flask) -> None:
    @app.get("/api/notes")
    @require_oauth("notes:read")
    def notes() -> Any:
        return jsonify(issuer=current_token.issuer, user=current_token.user_id, app=current_token.client_id)

    @app.get("/api/write")
    @require_oauth("notes:write")
    def write() -> Any:
        return jsonify(ok=True)

    @app.get("/api/any")
    @require_oauth(limit="60/minute burst 2")
    def anything() -> Any:
        return jsonify(scopes=sorted(current_token.scopes))

    @app.get("/api/files")
    @require_oauth("notes:read", resource="https://files.example.com/v1")
    def files() -> Any:
        return jsonify(ok=True)

    @app.get("/api/status")
    @public(limit="60/minute")
    def status() -> Any:
        return jsonify(ok=True)
