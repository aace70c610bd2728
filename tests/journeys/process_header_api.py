"""The API of the journeys; the header ``Process`` of each response has the id of the process. Not to import."""

from __future__ import annotations

import os

from flask import Flask, Response, jsonify

from valetkey import Valetkey, current_token, require_oauth

app = Flask(__name__)
Valetkey(app, site_name="Notes", scopes={"profile": "See your name and picture", "notes:write": "Change your notes"})


@app.get("/api/protected")
@require_oauth("profile")
def protected() -> Response:
    return jsonify(user=current_token.user_id, scope=sorted(current_token.scopes))


@app.get("/api/notes")
@require_oauth("notes:write")
def notes() -> Response:
    return jsonify(notes=[])


@app.after_request
def add_process_header(response: Response) -> Response:
    response.headers["Process"] = str(os.getpid())
    return response
