"""A plain Flask route: what any answer costs before OAuth begins."""

from __future__ import annotations

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/api/public")
def public_api() -> Response:
    return jsonify(message="Welcome to the public API!")
