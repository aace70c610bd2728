"""A small API with an OpenAPI document and a reference at ``/docs``; not to import, but to deploy."""

from __future__ import annotations

from typing import Any

from flask import Flask, request
from pydantic import BaseModel, Field

from valetkey import Valetkey, current_token, describe, public, require_oauth


class NewNote(BaseModel):
    text: str = Field(max_length=200, description="The words")


class Note(NewNote):
    id: int


class Search(BaseModel):
    q: str = Field("", description="A word to look for")


app = Flask(__name__)
Valetkey(
    app,
    site_name="Notes",
    scopes={"notes:read": "Read your notes", "notes:write": "Change and delete your notes"},
    security_contact="mailto:security@example.com",
)


@app.get("/api/notes")
@require_oauth("notes:read", limit="100/minute burst 20")
@describe(query=Search)
def search() -> list[dict[str, str]]:
    """Find notes."""
    return [{"text": request.args.get("q", ""), "of": str(current_token.user_id)}]


@app.post("/api/notes")
@require_oauth("notes:write", limit="10/minute burst 5")
@describe(body=NewNote, response=Note, status=201)
def add() -> Any:
    """Write a note down."""
    return {"id": 1, "text": request.get_json()["text"]}, 201


@app.get("/api/status/<any(red, green):colour>")
@public(limit="60/minute")
def status(colour: str) -> dict[str, str]:
    """Ask how it goes."""
    return {"colour": colour}
