"""Names of operations and schemas in OpenAPI documents: valid, unique, independent of the order of routes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.views import MethodView
from openapi_spec_validator import validate

from tests.support.openapi_apps import create_notes_app
from tests.support.openapi_names import ROUTES
from valetkey import public
from valetkey.openapi.document import build_document


def _schemas(routes: list[Callable[[Flask], None]]) -> dict[str, Any]:
    app = create_notes_app()
    for add_route in routes:
        add_route(app)
    document = build_document(app)
    validate(document)
    schemas: dict[str, Any] = document["components"]["schemas"]
    return schemas


def test_schema_names_are_those_of_the_types_and_the_titles_are_the_names() -> None:
    schemas = _schemas(ROUTES)

    assert sorted(schemas) == [
        "AHomeForAnimals",
        "AHomeForAnimalsInput",
        "Cat",
        "Dog",
        "OpenapiAppsNote",
        "OpenapiNamesNote",
        "PageCat",
        "PageNote",
        "Problem",
        "Problem2",
    ]
    assert {name: schema["title"] for name, schema in schemas.items() if "title" in schema} == {
        name: name for name in schemas if name != "Problem"
    }
    assert "is_full" in schemas["AHomeForAnimals"]["properties"]
    assert "is_full" not in schemas["AHomeForAnimalsInput"]["properties"]
    assert schemas["AHomeForAnimals"]["properties"]["pet"]["discriminator"]["mapping"] == {
        "cat": "#/components/schemas/Cat",
        "dog": "#/components/schemas/Dog",
    }


def test_schema_names_do_not_depend_on_the_order_of_routes() -> None:
    expected = _schemas(ROUTES)
    shuffle = random.Random(13)
    for _ in range(5):
        assert _schemas(shuffle.sample(ROUTES, len(ROUTES))) == expected


def test_a_member_has_no_title_after_which_a_generator_would_name_a_class() -> None:
    page = _schemas(ROUTES)["PageNote"]

    assert page["properties"]["status"] == {"enum": ["first", "last"], "type": "string"}


def _operation_ids(*rules: tuple[str, str, Any]) -> dict[str, str]:
    app = create_notes_app()
    for path, endpoint, view in rules:
        app.add_url_rule(path, endpoint, app.view_functions.get(endpoint, view))
    paths = build_document(app)["paths"]
    return {f"{method} {path}": operation["operationId"] for path in paths for method, operation in paths[path].items()}


def test_operation_ids_are_identifiers() -> None:
    view = public(lambda **_: {})

    assert _operation_ids(
        ("/api/a", "<lambda>", view), ("/api/b", "größe-x", view), ("/api/c", "3d", view), ("/api/d", "…", view)
    ) == {"get /api/a": "lambda", "get /api/b": "groe_x", "get /api/c": "_3d", "get /api/d": "unnamed"}


def test_operation_ids_differ_in_more_than_case_and_underscores() -> None:
    view = public(lambda **_: {})

    assert _operation_ids(("/api/a", "read_note", view), ("/api/b", "readNote", view)) == {
        "get /api/a": "read_note_api_a",
        "get /api/b": "readNote_api_b",
    }


class NoteView(MethodView):
    decorators = (public,)

    def get(self, note_id: str = "") -> dict[str, str]:
        return {}


def test_operation_ids_of_one_view_at_several_paths_name_the_parameters_in_any_order() -> None:
    view = NoteView.as_view("note")
    rules = [("/api/notes", "note", view), ("/api/notes/<note_id>", "note", view)]

    assert _operation_ids(*rules) == _operation_ids(*reversed(rules))
    assert _operation_ids(*rules) == {"get /api/notes": "note_get", "get /api/notes/{note_id}": "note_get_by_note_id"}


def test_the_operation_id_of_a_class_based_view_stays_when_it_gets_another_method() -> None:
    class WithPost(NoteView):
        def post(self) -> dict[str, str]:
            return {}

    before = _operation_ids(("/api/notes", "note", NoteView.as_view("note")))
    after = _operation_ids(("/api/notes", "note", WithPost.as_view("note")))

    assert after == {**before, "post /api/notes": "note_post"}
