"""Plain Flask app, without Valetkey: what a response costs before any OAuth."""

from __future__ import annotations

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/api/public")
def public_api() -> Response:
    return jsonify(message="Welcome to the public API!")
