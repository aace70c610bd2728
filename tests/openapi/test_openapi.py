"""The OpenAPI document that Valetkey builds from the routes of a Flask app, checked by independent validators."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import pytest
from flask import Flask
from flask.views import MethodView
from flask_restful import Api, Resource
from openapi_spec_validator import validate
from pydantic import BaseModel, Field
from werkzeug.routing import BaseConverter

from tests.support.openapi_apps import NOTES_SCOPES, create_notes_api, create_notes_app
from valetkey import Plan, RateLimit, describe, public, require_oauth
from valetkey.api_helpers import deprecated, etagged, idempotent, max_body, sparse_fields
from valetkey.openapi.document import build_document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return build_document(create_notes_api())


def test_the_document_is_valid_and_contains_the_routes_below_the_prefix(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"] == "3.1.0"
    assert sorted(document["paths"]) == [
        "/api/notes",
        "/api/notes/tags/{name}",
        "/api/notes/{note_id}",
        "/api/status/{colour}/{run}/{at}/{rest}",
    ]
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert sorted(ids) == ["notes_add", "notes_remove", "notes_search", "notes_tags_get", "notes_tags_put", "status"]


def test_summary_and_description_come_from_the_docstring_without_its_fields(document: dict[str, Any]) -> None:
    operation = document["paths"]["/api/notes"]["get"]
    assert operation["summary"] == "Find notes"
    assert operation["description"].startswith("The newest come first.\n\n")
    assert "not for readers" not in operation["description"]
    assert document["paths"]["/api/notes/{note_id}"]["delete"]["summary"] == "Remove"
    assert operation["tags"] == ["notes"]


@pytest.mark.parametrize(
    "fields",
    [
        ":param number: which\n:returns: the order",
        "Args:\n    number: which\n\nReturns:\n    The order.",
        "Parameters\n----------\nnumber : int\n\nReturns\n-------\ndict",
    ],
    ids=["Sphinx", "Google", "NumPy"],
)
def test_docstring_fields_are_left_out_of_the_description(fields: str) -> None:
    def order(number: int) -> Any: ...

    order.__doc__ = f"One order.\n\nIt shows what Returns\nbring.\n\n{fields}"
    app = create_notes_app()
    app.add_url_rule("/api/orders/<int:number>", "order", public(order))

    operation = build_document(app)["paths"]["/api/orders/{number}"]["get"]

    assert operation["summary"] == "One order"
    assert operation["description"].startswith("It shows what Returns\nbring.\n\nPublic: ")


def test_url_converters_become_schemas(document: dict[str, Any]) -> None:
    operations = [next(iter(item.values())) for item in document["paths"].values()]
    schemas = {
        parameter["name"]: parameter["schema"] for operation in operations for parameter in operation["parameters"]
    }
    assert schemas["note_id"] == {"type": "integer", "minimum": 1, "maximum": 99}
    assert schemas["name"] == {"type": "string", "minLength": 3, "maxLength": 3}
    assert schemas["colour"] == {"type": "string", "enum": ["green", "red"]}
    assert schemas["run"] == {"type": "string", "format": "uuid"}
    assert schemas["at"] == {"type": "number"}
    assert schemas["rest"] == {"type": "string", "minLength": 1}


def test_body_query_and_response_schemas_come_from_types(document: dict[str, Any]) -> None:
    item, schemas = document["paths"]["/api/notes"], document["components"]["schemas"]
    assert item["post"]["requestBody"]["content"]["application/json"]["schema"] == _reference("NewNote")
    assert item["post"]["responses"]["201"]["content"]["application/json"]["schema"] == _reference("Note")
    assert item["post"]["responses"]["409"]["description"] == "There is such a note"
    assert item["get"]["responses"]["200"]["content"]["application/json"]["schema"]["items"] == _reference("Note")
    parameters = item["get"]["parameters"]
    assert [(parameter["name"], parameter["required"]) for parameter in parameters] == [("q", True), ("limit", False)]
    assert schemas["NewNote"]["properties"]["text"]["maxLength"] == 200
    assert schemas["Status"]["required"] == ["ok"]
    assert "Search" not in schemas  # its members are parameters, so no schema refers to it
    assert "204" in document["paths"]["/api/notes/{note_id}"]["delete"]["responses"]
    put = document["paths"]["/api/notes/tags/{name}"]["put"]
    assert put["responses"]["200"]["content"]["application/json"]["schema"] == _reference("Note")


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_each_scope_alternative_is_a_security_requirement(document: dict[str, Any]) -> None:
    paths = document["paths"]
    either = paths["/api/notes"]["get"]["security"]
    assert [entry["oauth2"] for entry in either if "oauth2" in entry] == [["notes:read"], ["notes:write"]]
    both = paths["/api/notes"]["post"]["security"]
    assert both == [{"oauth2": ["notes:read", "notes:write"]}, {"bearer": ["notes:read", "notes:write"]}]
    assert paths["/api/notes/{note_id}"]["delete"]["security"] == [{"oauth2": []}, {"bearer": []}]
    assert {} in paths["/api/notes/tags/{name}"]["get"]["security"]
    assert paths["/api/status/{colour}/{run}/{at}/{rest}"]["get"]["security"] == []
    flow = document["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]
    assert flow["authorizationUrl"] == "http://127.0.0.1:8000/oauth/authorize"
    assert flow["scopes"] == NOTES_SCOPES


def test_error_responses_and_limits_are_documented_only_if_they_can_occur(document: dict[str, Any]) -> None:
    paths = document["paths"]
    search = paths["/api/notes"]["get"]
    assert set(search["responses"]) == {"200", "400", "401", "403", "429", "503"}
    assert set(search["responses"]["200"]["headers"]) == {"RateLimit", "RateLimit-Policy"}
    assert search["x-rate-limit"] | {"description": ""} == {
        "limit": 100,
        "window": 60,
        "burst": 10,
        "description": "",
    }
    assert "100 calls a minute, 10 at once, for each app and user together" in search["description"]
    assert "`notes:read` (Read your notes)" in search["description"]
    status = paths["/api/status/{colour}/{run}/{at}/{rest}"]["get"]
    assert set(status["responses"]) == {"200", "404", "429", "503"}
    put = paths["/api/notes/tags/{name}"]["put"]
    assert put["x-rate-limit"]["cost"] == 2
    assert "signed in within the last 300 seconds" in put["x-access"]
    assert "403" not in paths["/api/notes/{note_id}"]["delete"]["responses"]


def test_flask_restful_resources_are_documented() -> None:
    app = create_notes_app()

    class NoteResource(Resource):  # type: ignore[misc]  # Flask-RESTful has no types
        method_decorators = (require_oauth("notes:read"),)

        def get(self, note_id: int) -> Any:
            """Read a note."""
            return {}

    Api(app).add_resource(NoteResource, "/api/notes/<int:note_id>")
    document = build_document(app)
    validate(document)
    operation = document["paths"]["/api/notes/{note_id}"]["get"]
    assert (operation["summary"], operation["security"][0]) == ("Read a note", {"oauth2": ["notes:read"]})


def test_paths_that_differ_only_in_parameter_names_are_one_path_of_their_app() -> None:
    app, other = create_notes_app(api_prefix="/v1"), create_notes_app()

    @app.get("/v1/notes/<int:note_id>")
    def read(note_id: int) -> dict[str, str]:
        return {}

    @app.delete("/v1/notes/<number>")
    def remove(number: str) -> dict[str, str]:
        return {}

    document = build_document(app)
    validate(document)
    assert list(document["paths"]) == ["/v1/notes/{note_id}"]
    assert set(document["paths"]["/v1/notes/{note_id}"]) == {"get", "delete"}
    assert build_document(other)["paths"] == {}


def test_the_error_for_a_type_without_schema_names_the_operation() -> None:
    app = create_notes_app()

    @app.post("/api/notes")
    @describe(body=Flask)
    def add() -> Any:
        return {}

    with pytest.raises(ValueError, match=r"the body of POST /api/notes \(add\): "):
        build_document(app)


def test_plans_group_limits_and_the_configured_rate_limit_headers_are_documented() -> None:
    plans = {
        "free": Plan(limit="60/minute", quota="10000/month", scopes="notes:read"),
        "pro": Plan(limit="600/minute", approval="manual"),
    }
    app = create_notes_app(plans=plans, default_plan="free", rate_limit_fields="legacy")

    @app.get("/api/search")
    @require_oauth("notes:read", limit=RateLimit({"free": "10/minute", "pro": "1000/hour"}, group="search", per="app"))
    def search() -> dict[str, str]:
        return {}

    @app.get("/api/me")
    @require_oauth
    def me() -> dict[str, str]:
        return {}

    document = build_document(app)
    validate(document)
    operation = document["paths"]["/api/search"]["get"]
    assert [policy["plan"] for policy in operation["x-rate-limit"]["policies"]] == ["free", "pro"]
    assert operation["x-rate-limit"]["description"] == (
        "On the plan free 10 calls a minute, 1 at once; on the plan pro 1,000 calls an hour, 100 at once, "
        "for each app, shared by all operations of the group search."
    )
    assert set(operation["responses"]["200"]["headers"]) == set(document["components"]["headers"]) - {
        "Retry-After",
        "WWW-Authenticate",
    }
    assert "X-RateLimit-Limit" in operation["responses"]["200"]["headers"]
    assert "429" in document["paths"]["/api/me"]["get"]["responses"]  # because of the app's plan
    assert {name: plan["description"] for name, plan in document["x-plans"].items()} == {
        "free": "60 calls a minute, 6 at once; 10,000 calls in each month (UTC), for each app over all operations. "
        "Scopes: notes:read. This is the default plan.",
        "pro": "600 calls a minute, 60 at once, for each app over all operations. The operator of the API has to "
        "approve it.",
    }


def test_a_route_that_is_denied_to_all_callers_is_not_documented() -> None:
    app = create_notes_app(protect_by_default=True)
    app.add_url_rule("/api/forgotten", "forgotten", lambda: "")
    assert build_document(app)["paths"] == {}


class Letters(BaseConverter):
    """A custom converter with a regular expression, as many apps have one."""

    def __init__(self, url_map: Any, pattern: str) -> None:
        super().__init__(url_map)
        self.regex = pattern


def test_converter_arguments_may_contain_parentheses() -> None:
    app = create_notes_app()
    app.url_map.converters["regex"] = Letters
    app.add_url_rule('/api/<regex("(a|b)+"):kind>/<any(x, "y,z"):rest>', "found", public(lambda kind, rest: {}))

    document = build_document(app)

    validate(document)
    [(path, item)] = document["paths"].items()
    assert path == "/api/{kind}/{rest}"
    assert [parameter["name"] for parameter in item["get"]["parameters"]] == ["kind", "rest"]


def test_methods_that_openapi_does_not_have_are_left_out_and_a_lone_head_is_documented() -> None:
    app = create_notes_app()
    app.add_url_rule("/api/cache", "cache", public(dict), methods=["GET", "PURGE"])
    app.add_url_rule("/api/there", "there", public(dict), methods=["HEAD"])

    document = build_document(app)

    validate(document)
    methods = {path: set(item) for path, item in document["paths"].items()}
    assert methods == {"/api/cache": {"get"}, "/api/there": {"head"}}


class Condition(BaseModel):
    if_match: str = Field(alias="If-Match", description="The ETag that you read")


def test_the_effects_of_helper_decorators_are_documented() -> None:
    app = create_notes_app()

    @app.post("/api/orders")
    @require_oauth
    @idempotent(required=True)
    @max_body("2 KiB")
    @describe(errors={409: "It is sold out"})
    def order() -> Any:
        """Order."""

    @app.get("/api/orders/<int:number>")
    @public
    @deprecated(since="2025-01-31", sunset="2026-01-31", link="https://example.com/v2")
    @etagged
    @sparse_fields("id", "name")
    def read(number: int) -> Any:
        """One order."""

    @app.put("/api/orders/<int:number>")
    @public
    @describe(headers=Condition)
    def change(number: int) -> Any:
        """Change it."""

    document = build_document(app)

    validate(document)
    post = document["paths"]["/api/orders"]["post"]
    [key] = post["parameters"]
    assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", True)
    assert {"400", "409", "413", "422"} <= set(post["responses"])
    assert post["responses"]["409"]["description"] == "It is sold out", "descriptions of the view's author stay"
    get = document["paths"]["/api/orders/{number}"]["get"]
    assert [parameter["name"] for parameter in get["parameters"]] == ["number", "If-None-Match", "fields"]
    assert {"Deprecation", "Sunset", "ETag"} <= set(get["responses"]["200"]["headers"])
    assert "304" in get["responses"] and get["deprecated"]
    assert get["description"].endswith(
        "Deprecated since 2025-01-31. It stops responding on 2026-01-31. What to do instead: https://example.com/v2"
    )
    if_match = document["paths"]["/api/orders/{number}"]["put"]["parameters"][1]
    assert (if_match["name"], if_match["in"], if_match["required"]) == ("If-Match", "header", True)


def test_operations_of_a_deprecated_class_are_deprecated() -> None:
    class Old(MethodView):
        decorators = (deprecated(since="2025-01-31"),)

        @public
        def get(self) -> Any:
            """Old."""

    app = create_notes_app()
    app.add_url_rule("/api/old", view_func=Old.as_view("old"))

    assert build_document(app)["paths"]["/api/old"]["get"]["deprecated"]


class Tree(TypedDict):
    """A branch and its branches."""

    name: str
    branches: NotRequired[list[Tree]]


def test_recursive_types_are_documented() -> None:
    app = create_notes_app()

    @app.get("/api/tree")
    @public
    def tree() -> dict[str, Tree]:
        return {}

    document = build_document(app)

    validate(document)
    schema = document["components"]["schemas"]["Tree"]
    assert schema["required"] == ["name"]
    assert schema["properties"]["branches"]["items"] == {"$ref": "#/components/schemas/Tree"}


def test_the_schema_of_a_tuple_has_items() -> None:
    """Spectral reports an array schema without ``items`` as an error."""
    app = create_notes_app()

    @app.get("/api/place")
    @public
    def place() -> dict[str, tuple[float, float]]:
        return {}

    response = build_document(app)["paths"]["/api/place"]["get"]["responses"]["200"]
    pair = response["content"]["application/json"]["schema"]["additionalProperties"]

    assert (pair["maxItems"], pair["items"]) == (2, {})
