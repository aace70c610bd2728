"""A host app for the tests of races: a protected route, an idempotent one, and two with rate limits.

The limited routes respond with the id of the process and the times between which they admitted the call.
"""

from __future__ import annotations

import os
import secrets
import time

from flask import Flask, g, jsonify
from flask.typing import ResponseReturnValue

from valetkey import Valetkey, current_token, public, require_oauth
from valetkey.api_helpers import idempotent

app = Flask(__name__)
Valetkey(app, scopes={"profile": "See your name and picture"})


@app.before_request
def record_arrival() -> None:
    """Store when the call arrived, before any limit was checked."""
    g.arrived = time.time()


@app.get("/api/protected")
@require_oauth("profile")
def protected() -> ResponseReturnValue:
    return jsonify(sub=current_token.user_id)


@app.post("/api/orders")
@require_oauth("profile")
@idempotent
def order() -> ResponseReturnValue:
    time.sleep(0.01)
    return jsonify(order=secrets.token_hex(8)), 201


@app.get("/api/slow")
@public(limit="100/minute")
def slow() -> ResponseReturnValue:
    return _admission_times()


@app.get("/api/fast")
@public(limit="400/second burst 400")
def fast() -> ResponseReturnValue:
    return _admission_times()


def _admission_times() -> str:
    """Return the process id and two Unix times between which the call was admitted, separated by blanks."""
    return f"{os.getpid()} {g.arrived!r} {time.time()!r}"
