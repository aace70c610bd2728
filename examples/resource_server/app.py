"""An API for notes that accepts access tokens of other servers: another Valetkey, or any that publishes its keys."""

import os

from flask import Flask, jsonify, request

from valetkey import ResourceServer, current_token, public, require_oauth

app = Flask(__name__)
ResourceServer(
    app,
    trusted_issuers=os.environ.get("ISSUERS", "http://127.0.0.1:8000").split(),
    resource=os.environ.get("RESOURCE", "http://127.0.0.1:5000"),
    scopes={"notes:read": "Read your notes", "notes:write": "Write notes"},
)
notes: dict[tuple[str, str], list[str]] = {}  # keyed by issuer and user id: user ids of two issuers may be equal


def owner() -> tuple[str, str]:
    """Return the issuer of the token and its user, or its client if it has no user."""
    return current_token.issuer, current_token.user_id or current_token.client_id


@app.get("/api/status")
@public(limit="60/minute")
def status():
    return jsonify(ok=True)


@app.get("/api/notes")
@require_oauth("notes:read", limit="100/minute")
def read():
    return jsonify(notes.get(owner(), []))


@app.post("/api/notes")
@require_oauth("notes:write", limit="10/minute burst 5")
def write():
    notes.setdefault(owner(), []).append(str(request.get_json()["text"]))
    return jsonify(notes[owner()]), 201
