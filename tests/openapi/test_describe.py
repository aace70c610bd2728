"""What ``describe`` accepts and decorates, and what return annotations of views imply."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.views import MethodView, View
from openapi_spec_validator import validate

from tests.support.openapi_apps import NewNote, Note, Search, create_notes_app
from valetkey import describe, public, require_oauth
from valetkey.cli import main
from valetkey.openapi.document import build_document


class Book:
    """A class of the app, of which pydantic makes no schema."""


def annotated(annotation: str) -> Callable[[], Any]:
    """Return a view with a return annotation, which is evaluated in this module."""

    def view() -> Any: ...

    view.__annotations__["return"] = annotation
    return view


def served_operation(view: Any, **rule: Any) -> dict[str, Any]:
    app = create_notes_app()
    app.add_url_rule("/api/x", "x", view, **rule)
    document = build_document(app)
    validate(document)
    [operation] = document["paths"]["/api/x"].values()
    return dict(operation)


@pytest.mark.parametrize("annotation", ["list[Book]", "dict[str, Book] | str", "list of books", "Book.missing"])
def test_an_annotation_without_json_schema_is_no_response_type_and_is_logged(
    annotation: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_notes_app()
    app.add_url_rule("/api/x", "books", public(annotated(annotation)))

    statuses = [app.test_client().get(path).status_code for path in ("/openapi.json", "/llms.txt", "/openapi.json")]

    assert statuses == [200, 200, 200]
    [record] = [record for record in caplog.records if "not documented" in record.message]
    assert record.message.startswith("the response of GET /api/x (books) is not documented: ")
    assert (record.name, record.levelno) == ("valetkey", logging.WARNING)


@pytest.mark.parametrize("annotation", ["tuple[()]", "Decimal", "Book", "tuple[Book, int]"])
def test_an_annotation_that_is_no_json_type_is_not_reported(annotation: str, caplog: pytest.LogCaptureFixture) -> None:
    assert "content" not in served_operation(public(annotated(annotation)))["responses"]["200"]
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"status": 404}, "status"),
        ({"status": 42}, "status"),
        ({"status": "ok"}, "status"),
        ({"errors": {200: "OK"}}, "errors"),
        ({"errors": {404: None}}, "errors"),
        ({"errors": {None: "no note"}}, "errors"),
        ({"errors": [404]}, "errors"),
    ],
    ids=str,
)
def test_a_status_that_cannot_be_right_is_left_out_and_reported(
    arguments: dict[str, Any], part: str, caplog: pytest.LogCaptureFixture
) -> None:
    operation = served_operation(describe(**arguments)(public(lambda: "")))

    assert operation["responses"] == served_operation(public(lambda: ""))["responses"]
    [message] = caplog.messages
    assert message.startswith(f"the {part} of GET /api/")


@pytest.mark.parametrize("python_type", ["NewNote", {"q": str}, 5])
@pytest.mark.parametrize("part", ["body", "query", "headers", "response"])
def test_a_type_that_cannot_be_right_does_not_stop_the_app(part: str, python_type: Any) -> None:
    view = describe(**{part: python_type})(public(lambda: ""))

    with pytest.raises(ValueError, match=f"the {part} of POST /api/"):
        served_operation(view, methods=["POST"])


def test_statuses_may_be_text() -> None:
    operation = served_operation(describe(status="201", errors={"404": "There is no such note"})(public(lambda: "")))

    assert operation["responses"]["201"] == {"description": "Created"}
    assert operation["responses"]["404"]["description"] == "There is no such note"


def test_a_status_without_a_phrase_is_documented() -> None:
    operation = served_operation(describe(status=299)(public(lambda: "")))

    assert operation["responses"]["299"] == {"description": "Success"}


def test_a_class_is_not_decorated() -> None:
    with pytest.raises(ValueError, match="list the decorator in the class's `decorators`"):
        describe(status=201)(MethodView)


CHECKED_APP = """
from flask import Flask
from valetkey import Valetkey, describe, public

class Book: ...

app = Flask(__name__)
Valetkey(app)

@app.get("/api/books")
@public
{decorator}
def books() -> list[Book]: ...
"""


@pytest.mark.parametrize(
    ("decorator", "status", "line"),
    [
        ("", 0, "advice:  the response of GET /api/books (books) is not documented: "),
        (
            "@describe(response=Book)",
            1,
            "problem: the OpenAPI document and the API reference cannot be built: the response of GET /api/books (b",
        ),
    ],
)
def test_check_reports_views_that_cannot_be_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decorator: str, status: int, line: str
) -> None:
    (tmp_path / "app.py").write_text(CHECKED_APP.replace("{decorator}", decorator))

    result = CliRunner().invoke(main, ["--data-dir", str(tmp_path), "--app", str(tmp_path / "app.py"), "check"])

    assert (result.exit_code, line in result.output) == (status, True), result.output


@pytest.mark.parametrize(
    ("document", "problem"),
    [("{}['spec']", "KeyError: 'spec'"), ("{'openapi': '3.1.0', 'tags': [5]}", "TypeError: ")],
)
def test_check_reports_a_function_openapi_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: str, problem: str
) -> None:
    (tmp_path / "app.py").write_text(
        "from flask import Flask\nfrom valetkey import Valetkey\n"
        f"app = Flask(__name__)\nValetkey(app, openapi=lambda: {document})\n"
    )

    result = CliRunner().invoke(main, ["--data-dir", str(tmp_path), "--app", str(tmp_path / "app.py"), "check"])

    assert result.exit_code == 1
    assert f"the OpenAPI document and the API reference cannot be built: {problem}" in result.output


def test_a_description_above_a_route_decorator_counts_as_well() -> None:
    app = create_notes_app()

    @describe(response=Note, status=201)
    @app.post("/api/above")
    @public
    def above() -> Any: ...

    assert "201" in build_document(app)["paths"]["/api/above"]["post"]["responses"]


def test_one_function_can_be_described_for_several_routes() -> None:
    app = create_notes_app()

    def write() -> Any:
        """Write."""

    app.add_url_rule("/api/plain", "plain", public(write), methods=["POST"])
    app.add_url_rule("/api/new", "new", public(describe(body=NewNote)(write)), methods=["POST"])
    app.add_url_rule("/api/old", "old", public(describe(body=Note)(write)), methods=["POST"])
    paths = build_document(app)["paths"]

    bodies = {path: item["post"].get("requestBody") for path, item in paths.items()}
    assert bodies["/api/plain"] is None
    assert bodies["/api/new"]["content"]["application/json"]["schema"]["$ref"].endswith("/NewNote")
    assert bodies["/api/old"]["content"]["application/json"]["schema"]["$ref"].endswith("/Note")
    assert {item["post"]["summary"] for item in paths.values()} == {"Write"}


class Views:
    """An object whose methods are views."""

    def bound(self, suffix: str = "!") -> str:
        """Read."""
        return f"bound{suffix}"

    def __call__(self) -> str:
        """Read."""
        return "called"


async def asynchronous(*, suffix: str = "!") -> str:
    """Read."""
    return f"asynchronous{suffix}"


@pytest.mark.parametrize(
    ("view", "text"),
    [
        (Views().bound, "bound!"),
        (functools.partial(Views().bound, suffix="?"), "bound?"),
        (asynchronous, "asynchronous!"),
        (functools.partial(asynchronous, suffix="?"), "asynchronous?"),
        (require_oauth(optional=True)(asynchronous), "asynchronous!"),
    ],
    ids=["method", "partial method", "async", "partial async", "guarded"],
)
def test_a_described_view_is_called_as_before(view: Callable[..., Any], text: str) -> None:
    app = create_notes_app(health_path=None)
    app.add_url_rule("/api/x", "x", describe(response=str, status=203)(view))

    # In another thread: an async view needs one without an event loop, and a browser test may leave one in this thread.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(app.test_client().get, "/api/x").result().text == text
    operation = build_document(app)["paths"]["/api/x"]["get"]
    assert operation["summary"] == "Read"
    assert operation["responses"]["203"]["content"]["application/json"]["schema"] == {"type": "string"}


def test_a_described_object_is_called_as_before() -> None:
    app = create_notes_app()
    app.add_url_rule("/api/x", "x", describe(status=203)(Views()))

    assert "203" in build_document(app)["paths"]["/api/x"]["get"]["responses"]


def test_partial_views_have_the_summary_of_their_function_or_their_own() -> None:
    @describe(query=Search)
    @public
    def read(kind: str) -> dict[str, str]:
        """Read it."""
        return {}

    named = functools.partial(read, "b")
    named.__doc__ = "Read b."
    operation, named_operation = served_operation(functools.partial(read, "a")), served_operation(named)

    assert (operation["summary"], named_operation["summary"]) == ("Read it", "Read b")
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "object"
    assert [parameter["name"] for parameter in operation["parameters"]] == ["q", "limit"]


def test_a_description_of_several_methods_gives_get_neither_body_nor_status(caplog: pytest.LogCaptureFixture) -> None:
    class Described(MethodView):
        decorators = (public, describe(body=NewNote, status=201, errors={409: "It exists"}))

        def get(self) -> dict[str, str]:
            return {}

        def post(self) -> Any: ...

        @describe(body=Note, status=202)
        def put(self) -> Any: ...

    class Dispatching(View):
        methods = ("GET", "POST")

        @describe(body=Note, status=201)
        def dispatch_request(self) -> dict[str, int]: ...  # type: ignore[override, empty-body]

    app = create_notes_app()
    app.add_url_rule("/api/a", view_func=Described.as_view("a"))
    app.add_url_rule("/api/b", view_func=public(Dispatching.as_view("b")))
    function = public(describe(body=Note, status=201)(lambda: ""))
    app.add_url_rule("/api/c", "c", function, methods=["GET", "POST"])
    app.add_url_rule("/api/d", "d", function)
    paths = build_document(app)["paths"]

    documented = {
        f"{method} {path}": (operation.get("requestBody") is not None, [*operation["responses"]])
        for path, item in paths.items()
        for method, operation in item.items()
    }
    assert documented == {
        "get /api/a": (False, ["200", "409"]),
        "post /api/a": (True, ["201", "409"]),
        "put /api/a": (True, ["202"]),
        "get /api/b": (False, ["200"]),
        "post /api/b": (True, ["201"]),
        "get /api/c": (False, ["200"]),
        "post /api/c": (True, ["201"]),
        "get /api/d": (False, ["201"]),
    }
    assert "the body of GET /api/d (d) is not documented: GET requests have no body" in caplog.text
    assert caplog.text.count("not documented") == 1
    assert "content" in paths["/api/b"]["post"]["responses"]["201"]
