"""Apps with an OpenAPI document: a plain Flask app with notes, and an app with pets for each OpenAPI extension."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from apiflask import APIFlask, Schema
from apiflask.fields import Integer
from flask import Blueprint, Flask
from flask.views import MethodView
from flask_openapi import OpenAPI
from flask_smorest import Api
from flask_smorest import Blueprint as SmorestBlueprint
from pydantic import BaseModel, Field

from valetkey import Valetkey, add_security, describe, public, require_oauth

NOTES_SCOPES = {"notes:read": "Read your notes", "notes:write": "Change your notes"}
PETS_SCOPES = {"pets:read": "See your pets", "pets:write": "Change your pets"}
PET_PATH = "/api/pets/{pet_id}"


class NewNote(BaseModel):
    """A note to write down."""

    text: str = Field(max_length=200, description="The words")
    tags: list[str] = []


class Note(NewNote):
    id: int


@dataclass
class Search:
    q: str
    limit: int = 20


class Status(TypedDict):
    ok: bool
    since: NotRequired[str]


def create_notes_app(**settings: Any) -> Flask:
    """Return an app without routes that has Valetkey with these settings."""
    app = Flask("notes")
    Valetkey(app, scopes=NOTES_SCOPES, site_name="Notes", embedded_worker=False, **settings)
    return app


def create_notes_api() -> Flask:
    """Return an app whose routes use each kind of description: docstrings, types, converters, scopes and limits."""
    app, notes = create_notes_app(), Blueprint("notes", __name__, url_prefix="/api/notes")

    @notes.get("")
    @require_oauth(["notes:read", "notes:write"], limit="100/minute")
    @describe(query=Search)
    def search() -> list[Note]:
        """Find notes.

        The newest come first.

        :param q: not for readers of the reference
        """
        return []

    @notes.post("")
    @describe(body=NewNote, response=Note, status=201, errors={409: "There is such a note"})
    @require_oauth("notes:read notes:write")
    def add() -> Any:
        """Write a note down."""

    @notes.delete("/<int(min=1, max=99):note_id>")
    @require_oauth
    def remove(note_id: int) -> None:
        return None

    class Tags(MethodView):
        @require_oauth(optional=True)
        def get(self, name: str) -> dict[str, int]:
            return {}

        @require_oauth("notes:write", cost=2, limit="10/hour burst 4", max_age=300)
        def put(self, name: str) -> tuple[Note, int]:
            raise AssertionError("only described, never called")

    notes.add_url_rule("/tags/<string(length=3):name>", view_func=Tags.as_view("tags"))
    app.register_blueprint(notes)

    @app.get("/api/status/<any(red, green):colour>/<uuid:run>/<float(signed=True):at>/<path:rest>")
    @public(limit="60/minute burst 60")
    def status(colour: str, run: uuid.UUID, at: float, rest: str) -> Status:
        return {"ok": True}

    @app.get("/elsewhere")
    def elsewhere() -> str:
        return ""

    return app


class Pet(Schema):  # type: ignore[misc]  # APIFlask's Schema is untyped
    age = Integer()


class PetModel(BaseModel):
    age: int


class PetPath(BaseModel):
    pet_id: int


def _create_apiflask_app() -> tuple[Flask, dict[str, Any]]:
    app = APIFlask("pets", docs_path=None, spec_path="/spec.json")
    Valetkey(app, scopes=PETS_SCOPES, embedded_worker=False)

    @app.get("/api/pets/<int:pet_id>")
    @require_oauth("pets:read", limit="100/minute")
    @app.output(Pet)
    def read(pet_id: int) -> Any:
        return {"age": 1}

    @app.get("/api/status")
    @public
    def status() -> Any:
        return {}

    @app.spec_processor
    def secure(spec: dict[str, Any]) -> dict[str, Any]:
        return add_security(spec, app)

    return app, app.test_client().get("/spec.json").get_json()


def _create_smorest_app() -> tuple[Flask, dict[str, Any]]:
    app = Flask("pets")
    app.config.update(API_TITLE="Pets", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    Valetkey(app, scopes=PETS_SCOPES, embedded_worker=False)
    api, pets = Api(app), SmorestBlueprint("pets", "pets", url_prefix="/api")

    @pets.route("/pets/<int:pet_id>")
    class OnePet(MethodView):
        @require_oauth("pets:read", limit="100/minute")
        @pets.response(200, Pet)
        def get(self, pet_id: int) -> Any:
            return {"age": 1}

    @pets.route("/status")
    @public
    def status() -> Any:
        return {}

    api.register_blueprint(pets)
    return app, add_security(api.spec.to_dict(), app)


def _create_openapi_app() -> tuple[Flask, dict[str, Any]]:
    app = OpenAPI("pets")
    Valetkey(app, scopes=PETS_SCOPES, embedded_worker=False)

    @app.get("/api/pets/<int:pet_id>", responses={200: PetModel})
    @require_oauth("pets:read", limit="100/minute")
    def read(path: PetPath) -> Any:
        return {"age": 1}

    @app.get("/api/status")
    @public
    def status() -> Any:
        return {}

    return app, add_security(app.api_doc, app)


# For each OpenAPI extension of Flask, a function that returns an app and its document with Valetkey's additions.
PETS_APPS = {
    "APIFlask": _create_apiflask_app,
    "flask-smorest": _create_smorest_app,
    "flask-openapi": _create_openapi_app,
}
