"""``add_security`` with the documents of the real packages APIFlask, flask-smorest and flask-openapi."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from apiflask import APIFlask, Schema
from apiflask.fields import Integer
from flask import Flask
from flask.views import MethodView
from flask_openapi import OpenAPI
from flask_smorest import Api, Blueprint
from openapi_spec_validator import validate
from pydantic import BaseModel

from valetkey import Valetkey, add_security, public, require_oauth

SCOPES = {"pets:read": "See your pets", "pets:write": "Change your pets"}
PATH = "/api/pets/{pet_id}"


class Pet(Schema):  # type: ignore[misc]  # APIFlask's Schema is untyped
    age = Integer()


class PetModel(BaseModel):
    age: int


class PetPath(BaseModel):
    pet_id: int


def _apiflask() -> tuple[Flask, dict[str, Any]]:
    app = APIFlask("pets", docs_path=None, spec_path="/spec.json")
    Valetkey(app, scopes=SCOPES)

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


def _smorest() -> tuple[Flask, dict[str, Any]]:
    app = Flask("pets")
    app.config.update(API_TITLE="Pets", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    Valetkey(app, scopes=SCOPES)
    api, pets = Api(app), Blueprint("pets", "pets", url_prefix="/api")

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


def _openapi() -> tuple[Flask, dict[str, Any]]:
    app = OpenAPI("pets")
    Valetkey(app, scopes=SCOPES)

    @app.get("/api/pets/<int:pet_id>", responses={200: PetModel})
    @require_oauth("pets:read", limit="100/minute")
    def read(path: PetPath) -> Any:
        return {"age": 1}

    @app.get("/api/status")
    @public
    def status() -> Any:
        return {}

    return app, add_security(app.api_doc, app)


BUILDERS = {"APIFlask": _apiflask, "flask-smorest": _smorest, "flask-openapi": _openapi}


@pytest.fixture(params=list(BUILDERS))
def app_and_spec(request: pytest.FixtureRequest) -> tuple[Flask, dict[str, Any]]:
    return BUILDERS[request.param]()


def test_the_document_stays_valid_and_gets_security_errors_and_limit(
    app_and_spec: tuple[Flask, dict[str, Any]],
) -> None:
    app, spec = app_and_spec
    validate(spec)
    operation = spec["paths"][PATH]["get"]
    assert operation["security"] == [{"oauth2": ["pets:read"]}, {"bearer": ["pets:read"]}]
    assert {"400", "401", "403", "429", "503"} <= {str(status) for status in operation["responses"]}
    assert set(operation["responses"]["200"]["headers"]) >= {"RateLimit", "RateLimit-Policy"}
    assert operation["x-rate-limit"]["limit"] == 100
    assert "See your pets" in operation["description"]
    assert spec["paths"]["/api/status"]["get"]["security"] == []
    assert spec["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]["scopes"] == SCOPES
    assert app.test_client().get("/api/pets/1").status_code == 401  # the app enforces what the document says


def test_existing_responses_stay_and_the_original_document_is_not_modified(
    app_and_spec: tuple[Flask, dict[str, Any]],
) -> None:
    app, spec = app_and_spec
    spec["paths"][PATH]["get"]["responses"]["401"] = {"description": "Ours"}
    before = copy.deepcopy(spec)
    secured = add_security(spec, app)
    assert spec == before
    assert secured["paths"][PATH]["get"]["responses"]["401"] == {"description": "Ours"}
    assert (
        secured["paths"][PATH]["get"]["responses"]["200"]["content"]
        == (spec["paths"][PATH]["get"]["responses"]["200"]["content"])
    )


def test_adding_security_twice_changes_nothing(app_and_spec: tuple[Flask, dict[str, Any]]) -> None:
    app, spec = app_and_spec
    assert add_security(spec, app) == spec


def test_a_swagger_2_document_is_refused() -> None:
    app = Flask("pets")
    Valetkey(app, scopes=SCOPES)
    with pytest.raises(ValueError, match="OpenAPI 3"):
        add_security({"swagger": "2.0", "paths": {}}, app)
