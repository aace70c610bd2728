"""Resource server with the routes of ``app.py``, for JWTs of the server in the environment variable ``ISSUER``.

Both routes return the same response, so the difference in speed is the cost of the protection.
"""

from __future__ import annotations

import os

from flask import Flask, Response, jsonify

from valetkey import ResourceServer, public, require_oauth

app = Flask(__name__)
ResourceServer(
    app,
    trusted_issuers=[os.environ["ISSUER"]],
    resource="https://api.example",
    outbound_allowed_networks=("127.0.0.1/32",),
)


@app.get("/api/public")
@public
def public_api() -> Response:
    return jsonify(message="Welcome to the public API!")


@app.get("/api/protected")
@require_oauth("profile", limit="6000000/minute")
def protected_api() -> Response:
    return jsonify(message="Welcome to the public API!")
