"""``add_security`` with the documents of the real packages APIFlask, flask-smorest and flask-openapi."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import validate

from tests.support.openapi_apps import PET_PATH, PETS_APPS, PETS_SCOPES
from valetkey import Valetkey, add_security


@pytest.fixture(params=list(PETS_APPS))
def app_and_spec(request: pytest.FixtureRequest) -> tuple[Flask, dict[str, Any]]:
    return PETS_APPS[request.param]()


def test_the_document_stays_valid_and_gets_security_errors_and_limit(
    app_and_spec: tuple[Flask, dict[str, Any]],
) -> None:
    app, spec = app_and_spec
    validate(spec)
    operation = spec["paths"][PET_PATH]["get"]
    assert operation["security"] == [{"oauth2": ["pets:read"]}, {"bearer": ["pets:read"]}]
    assert {"400", "401", "403", "429", "503"} <= {str(status) for status in operation["responses"]}
    assert set(operation["responses"]["200"]["headers"]) >= {"RateLimit", "RateLimit-Policy"}
    assert operation["x-rate-limit"]["limit"] == 100
    assert "See your pets" in operation["description"]
    assert spec["paths"]["/api/status"]["get"]["security"] == []
    assert spec["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]["scopes"] == PETS_SCOPES
    assert app.test_client().get("/api/pets/1").status_code == 401  # the app enforces what the document says


def test_existing_responses_stay_and_the_original_document_is_not_modified(
    app_and_spec: tuple[Flask, dict[str, Any]],
) -> None:
    app, spec = app_and_spec
    spec["paths"][PET_PATH]["get"]["responses"]["401"] = {"description": "Ours"}
    before = copy.deepcopy(spec)
    secured = add_security(spec, app)
    assert spec == before
    assert secured["paths"][PET_PATH]["get"]["responses"]["401"] == {"description": "Ours"}
    assert (
        secured["paths"][PET_PATH]["get"]["responses"]["200"]["content"]
        == (spec["paths"][PET_PATH]["get"]["responses"]["200"]["content"])
    )


def test_adding_security_twice_changes_nothing(app_and_spec: tuple[Flask, dict[str, Any]]) -> None:
    app, spec = app_and_spec
    assert add_security(spec, app) == spec


def test_a_swagger_2_document_is_refused() -> None:
    app = Flask("pets")
    Valetkey(app, scopes=PETS_SCOPES)
    with pytest.raises(ValueError, match="OpenAPI 3"):
        add_security({"swagger": "2.0", "paths": {}}, app)
