"""App with public routes, and protected routes with three limits.

All return the same response, so the difference in speed is the cost of the protection.
"""

from __future__ import annotations

import time

from flask import Flask, Response, jsonify

from valetkey import Valetkey, public, require_oauth

app = Flask(__name__)
valet = Valetkey(app, scopes={"profile": "See your name and picture"})


@app.get("/api/public")
@public
def public_api() -> Response:
    return jsonify(message="Welcome to the public API!")


@app.get("/api/waiting")
@public
def waiting_api() -> Response:
    """A view that waits for something else, as a database query or a call of another service."""
    time.sleep(0.05)
    return jsonify(message="Welcome to the public API!")


@app.get("/api/protected")
@require_oauth("profile", limit="6000000/minute")
def protected_api() -> Response:
    return jsonify(message="Welcome to the public API!")


@app.get("/api/limited")
@require_oauth("profile", limit="1200/minute burst 120")
def limited_api() -> Response:
    """A limit that one of a thousand users does not reach, but one who makes all calls does."""
    return jsonify(message="Welcome to the public API!")


@app.get("/api/refused")
@require_oauth("profile", limit="1/day burst 1")
def refused_api() -> Response:
    """A limit that refuses each call but the first of a user."""
    return jsonify(message="Welcome to the public API!")
