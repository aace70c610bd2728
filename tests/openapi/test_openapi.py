"""The OpenAPI document of a plain Flask app: its routes are the truth, and independent judges read it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView
from flask_restful import Api, Resource
from openapi_spec_validator import validate
from pydantic import BaseModel, Field
from werkzeug.routing import BaseConverter

from valetkey import Plan, RateLimit, Valetkey, describe, public, require_oauth
from valetkey.api_helpers import deprecated, etagged, idempotent, max_body, sparse_fields
from valetkey.openapi.document import build_document

SCOPES = {"notes:read": "Read your notes", "notes:write": "Change your notes"}


class NewNote(BaseModel):
    """What somebody writes down."""

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


def _app(**settings: Any) -> Flask:
    app = Flask("notes")
    Valetkey(app, scopes=SCOPES, site_name="Notes", **settings)
    return app


def _api() -> Flask:
    app, notes = _app(), Blueprint("notes", __name__, url_prefix="/api/notes")

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


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return build_document(_api())


def test_the_document_is_valid_and_holds_the_routes_below_the_prefix(made: dict[str, Any]) -> None:
    validate(made)
    assert made["openapi"] == "3.1.0"
    assert sorted(made["paths"]) == [
        "/api/notes",
        "/api/notes/tags/{name}",
        "/api/notes/{note_id}",
        "/api/status/{colour}/{run}/{at}/{rest}",
    ]
    operations = [one for item in made["paths"].values() for one in item.values()]
    names = [one["operationId"] for one in operations]
    assert sorted(names) == ["notes_add", "notes_remove", "notes_search", "notes_tags_get", "notes_tags_put", "status"]


def test_words_come_from_the_docstring_without_what_is_for_readers_of_the_code(made: dict[str, Any]) -> None:
    found = made["paths"]["/api/notes"]["get"]
    assert found["summary"] == "Find notes"
    assert found["description"].startswith("The newest come first.\n\n")
    assert "not for readers" not in found["description"]
    assert made["paths"]["/api/notes/{note_id}"]["delete"]["summary"] == "Remove"
    assert found["tags"] == ["notes"]


@pytest.mark.parametrize(
    "for_coders",
    [
        ":param number: which\n:returns: the order",
        "Args:\n    number: which\n\nReturns:\n    The order.",
        "Parameters\n----------\nnumber : int\n\nReturns\n-------\ndict",
    ],
    ids=["Sphinx", "Google", "NumPy"],
)
def test_what_a_docstring_says_of_arguments_is_for_whoever_reads_the_code(for_coders: str) -> None:
    def one(number: int) -> Any: ...

    one.__doc__ = f"One order.\n\nIt shows what Returns\nbring.\n\n{for_coders}"
    app = _app()
    app.add_url_rule("/api/orders/<int:number>", "one", public(one))

    told = build_document(app)["paths"]["/api/orders/{number}"]["get"]

    assert told["summary"] == "One order"
    assert told["description"].startswith("It shows what Returns\nbring.\n\nFor everybody")


def test_converters_become_schemas(made: dict[str, Any]) -> None:
    schemas = {
        one["name"]: one["schema"] for item in made["paths"].values() for one in next(iter(item.values()))["parameters"]
    }
    assert schemas["note_id"] == {"type": "integer", "minimum": 1, "maximum": 99}
    assert schemas["name"] == {"type": "string", "minLength": 3, "maxLength": 3}
    assert schemas["colour"] == {"type": "string", "enum": ["green", "red"]}
    assert schemas["run"] == {"type": "string", "format": "uuid"}
    assert schemas["at"] == {"type": "number"}
    assert schemas["rest"] == {"type": "string", "minLength": 1}


def test_bodies_queries_and_answers_come_from_types(made: dict[str, Any]) -> None:
    item, schemas = made["paths"]["/api/notes"], made["components"]["schemas"]
    assert item["post"]["requestBody"]["content"]["application/json"]["schema"] == _reference("NewNote")
    assert item["post"]["responses"]["201"]["content"]["application/json"]["schema"] == _reference("Note")
    assert item["post"]["responses"]["409"]["description"] == "There is such a note"
    assert item["get"]["responses"]["200"]["content"]["application/json"]["schema"]["items"] == _reference("Note")
    assert [(one["name"], one["required"]) for one in item["get"]["parameters"]] == [("q", True), ("limit", False)]
    assert schemas["NewNote"]["properties"]["text"]["maxLength"] == 200
    assert schemas["Status"]["required"] == ["ok"]
    assert "Search" not in schemas  # its members are parameters; nothing refers to it
    assert "204" in made["paths"]["/api/notes/{note_id}"]["delete"]["responses"]
    put = made["paths"]["/api/notes/tags/{name}"]["put"]
    assert put["responses"]["200"]["content"]["application/json"]["schema"] == _reference("Note")


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_scopes_are_security_requirements_one_for_each_alternative(made: dict[str, Any]) -> None:
    paths = made["paths"]
    either = paths["/api/notes"]["get"]["security"]
    assert [one["oauth2"] for one in either if "oauth2" in one] == [["notes:read"], ["notes:write"]]
    both = paths["/api/notes"]["post"]["security"]
    assert both == [{"oauth2": ["notes:read", "notes:write"]}, {"bearer": ["notes:read", "notes:write"]}]
    assert paths["/api/notes/{note_id}"]["delete"]["security"] == [{"oauth2": []}, {"bearer": []}]
    assert {} in paths["/api/notes/tags/{name}"]["get"]["security"]
    assert paths["/api/status/{colour}/{run}/{at}/{rest}"]["get"]["security"] == []
    flow = made["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]
    assert flow["authorizationUrl"] == "http://127.0.0.1:8000/oauth/authorize"
    assert flow["scopes"] == SCOPES


def test_refusals_and_limits_are_told_where_they_can_happen(made: dict[str, Any]) -> None:
    paths = made["paths"]
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


def test_resources_of_flask_restful_are_operations_too() -> None:
    app = _app()

    class Note_(Resource):  # type: ignore[misc]  # Flask-RESTful has no types
        method_decorators = (require_oauth("notes:read"),)

        def get(self, note_id: int) -> Any:
            """Read a note."""
            return {}

    Api(app).add_resource(Note_, "/api/notes/<int:note_id>")
    made = build_document(app)
    validate(made)
    found = made["paths"]["/api/notes/{note_id}"]["get"]
    assert (found["summary"], found["security"][0]) == ("Read a note", {"oauth2": ["notes:read"]})


def test_paths_that_differ_in_names_only_are_one_and_two_apps_have_their_own() -> None:
    app, other = _app(api_prefix="/v1"), _app()

    @app.get("/v1/notes/<int:note_id>")
    def read(note_id: int) -> dict[str, str]:
        return {}

    @app.delete("/v1/notes/<number>")
    def remove(number: str) -> dict[str, str]:
        return {}

    made = build_document(app)
    validate(made)
    assert list(made["paths"]) == ["/v1/notes/{note_id}"]
    assert set(made["paths"]["/v1/notes/{note_id}"]) == {"get", "delete"}
    assert build_document(other)["paths"] == {}


def test_a_type_that_has_no_schema_is_told_with_the_operation_that_has_it() -> None:
    app = _app()

    @app.post("/api/notes")
    @describe(body=object())
    def add() -> Any:
        return {}

    with pytest.raises(ValueError, match="the body of POST /api/notes"):
        build_document(app)


def test_limits_by_plan_shared_and_per_app_are_told_as_they_count_and_with_the_fields_that_are_sent() -> None:
    plans = {
        "free": Plan(limit="60/minute", quota="10000/month", scopes="notes:read"),
        "pro": Plan(limit="600/minute", approval="manual"),
    }
    app = _app(plans=plans, default_plan="free", rate_limit_fields="legacy")

    @app.get("/api/search")
    @require_oauth("notes:read", limit=RateLimit({"free": "10/minute", "pro": "1000/hour"}, group="search", per="app"))
    def search() -> dict[str, str]:
        return {}

    @app.get("/api/me")
    @require_oauth
    def me() -> dict[str, str]:
        return {}

    made = build_document(app)
    validate(made)
    found = made["paths"]["/api/search"]["get"]
    assert [one["plan"] for one in found["x-rate-limit"]["policies"]] == ["free", "pro"]
    assert found["x-rate-limit"]["description"] == (
        "On the plan free 10 calls a minute, 1 at once; on the plan pro 1,000 calls an hour, 100 at once, "
        "for each app, shared by all operations of the group search."
    )
    assert set(found["responses"]["200"]["headers"]) == set(made["components"]["headers"]) - {
        "Retry-After",
        "WWW-Authenticate",
    }
    assert "X-RateLimit-Limit" in found["responses"]["200"]["headers"]
    assert "429" in made["paths"]["/api/me"]["get"]["responses"]  # by the plan of the app
    assert {name: plan["description"] for name, plan in made["x-plans"].items()} == {
        "free": "60 calls a minute, 6 at once; 10,000 calls in each month (UTC), for each app over all operations. "
        "Scopes: notes:read. Whoever asked for no other has it.",
        "pro": "600 calls a minute, 60 at once, for each app over all operations. Whoever runs the API approves it.",
    }


def test_a_route_that_refuses_everybody_is_not_told() -> None:
    app = _app(protect_by_default=True)
    app.add_url_rule("/api/forgotten", "forgotten", lambda: "")
    assert build_document(app)["paths"] == {}


class Letters(BaseConverter):
    """A host's own converter, of which there is one in many apps."""

    def __init__(self, url_map: Any, pattern: str) -> None:
        super().__init__(url_map)
        self.regex = pattern


def test_a_converters_own_parentheses_are_no_end_of_the_variable() -> None:
    app = _app()
    app.url_map.converters["regex"] = Letters
    app.add_url_rule('/api/<regex("(a|b)+"):kind>/<any(x, "y,z"):rest>', "found", public(lambda kind, rest: {}))

    made = build_document(app)

    validate(made)
    [(path, item)] = made["paths"].items()
    assert path == "/api/{kind}/{rest}"
    assert [one["name"] for one in item["get"]["parameters"]] == ["kind", "rest"]


def test_a_method_that_openapi_has_no_word_for_is_left_out_and_head_alone_is_no_options() -> None:
    app = _app()
    app.add_url_rule("/api/cache", "cache", public(dict), methods=["GET", "PURGE"])
    app.add_url_rule("/api/there", "there", public(dict), methods=["HEAD"])

    made = build_document(app)

    validate(made)
    assert {path: set(item) for path, item in made["paths"].items()} == {"/api/cache": {"get"}, "/api/there": {"head"}}


class Condition(BaseModel):
    if_match: str = Field(alias="If-Match", description="The ETag that you read")


def test_what_the_helpers_promise_is_told() -> None:
    app = _app()

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
    def one(number: int) -> Any:
        """One order."""

    @app.put("/api/orders/<int:number>")
    @public
    @describe(headers=Condition)
    def change(number: int) -> Any:
        """Change it."""

    made = build_document(app)

    validate(made)
    posted = made["paths"]["/api/orders"]["post"]
    assert [(one["name"], one["in"], one["required"]) for one in posted["parameters"]] == [
        ("Idempotency-Key", "header", True)
    ]
    assert {"400", "409", "413", "422"} <= set(posted["responses"])
    assert posted["responses"]["409"]["description"] == "It is sold out", "the author's own words stay"
    got = made["paths"]["/api/orders/{number}"]["get"]
    assert [one["name"] for one in got["parameters"]] == ["number", "If-None-Match", "fields"]
    assert {"Deprecation", "Sunset", "ETag"} <= set(got["responses"]["200"]["headers"])
    assert "304" in got["responses"] and got["deprecated"]
    assert got["description"].endswith(
        "Deprecated since 2025-01-31. It stops answering on 2026-01-31. What to do instead: https://example.com/v2"
    )
    changed = made["paths"]["/api/orders/{number}"]["put"]["parameters"][1]
    assert (changed["name"], changed["in"], changed["required"]) == ("If-Match", "header", True)


def test_a_class_that_is_deprecated_as_a_whole_is_told_so() -> None:
    class Old(MethodView):
        decorators = (deprecated(since="2025-01-31"),)

        @public
        def get(self) -> Any:
            """Old."""

    app = _app()
    app.add_url_rule("/api/old", view_func=Old.as_view("old"))

    assert build_document(app)["paths"]["/api/old"]["get"]["deprecated"]


class Tree(TypedDict):
    """A branch and its branches."""

    name: str
    branches: NotRequired[list[Tree]]


def test_a_type_that_holds_itself_has_an_end() -> None:
    app = _app()

    @app.get("/api/tree")
    @public
    def tree() -> dict[str, Tree]:
        return {}

    made = build_document(app)

    validate(made)
    told = made["components"]["schemas"]["Tree"]
    assert told["required"] == ["name"]
    assert told["properties"]["branches"]["items"] == {"$ref": "#/components/schemas/Tree"}


def test_a_pair_is_a_list_of_two_for_every_reader() -> None:
    """Spectral holds a tuple, whose schema has no ``items``, to be an error."""
    app = _app()

    @app.get("/api/place")
    @public
    def place() -> dict[str, tuple[float, float]]:
        return {}

    answer = build_document(app)["paths"]["/api/place"]["get"]["responses"]["200"]
    pair = answer["content"]["application/json"]["schema"]["additionalProperties"]

    assert (pair["maxItems"], pair["items"]) == (2, {})
