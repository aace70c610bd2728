"""The routes of ``app.py`` for tokens that another server issued, which the environment names.

Both give the same answer, as there: what differs is what stands before the second.
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
