"""App with a public and a protected route, whose limit no measurement reaches.

Both return the same response, so the difference in speed is the cost of the protection.
"""

from __future__ import annotations

from flask import Flask, Response, jsonify

from valetkey import Valetkey, public, require_oauth

app = Flask(__name__)
valet = Valetkey(app, scopes={"profile": "See your name and picture"})


@app.get("/api/public")
@public
def public_api() -> Response:
    return jsonify(message="Welcome to the public API!")


@app.get("/api/protected")
@require_oauth("profile", limit="6000000/minute")
def protected_api() -> Response:
    return jsonify(message="Welcome to the public API!")
