"""Plain Flask app, without Valetkey: what a response costs before any OAuth, and beside sign-ins with passwords."""

from __future__ import annotations

from flask import Flask, Response, jsonify, request
from werkzeug.security import check_password_hash, generate_password_hash

PASSWORD = "a long password of a person"
# Takes as much CPU time as Valetkey's argon2id, 23 ms; both are computed without the interpreter's lock.
_PASSWORD_HASH = generate_password_hash(PASSWORD, "scrypt:8192:8:1")

app = Flask(__name__)


@app.get("/api/public")
def public_api() -> Response:
    return jsonify(message="Welcome to the public API!")


@app.post("/sign-in")
def sign_in() -> Response:
    return jsonify(signed_in=check_password_hash(_PASSWORD_HASH, request.form["password"]))
