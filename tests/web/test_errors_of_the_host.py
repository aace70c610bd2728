"""Every HTTP error that a view below ``api_prefix`` raises is sent: as problem details, or as its class makes it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from flask import Flask, jsonify
from werkzeug.exceptions import HTTPException, NotFound, UnprocessableEntity
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from valetkey import public
from valetkey.api_helpers import Problem


@pytest.fixture
def app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    return make_app(sqlite_store_url)


class Lazy:
    """A text that is translated when it is used, as those of Flask-Babel."""

    def __str__(self) -> str:
        return "nicht gefunden"


class Unregistered(HTTPException):
    code = 499


class Described(HTTPException):
    code = 420
    description = "stay calm"


def circle() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


def raise_in_a_view(app: Flask, error: HTTPException) -> TestResponse:
    @app.get("/api/raises")
    @public
    def raises() -> Any:
        raise error

    return app.test_client().get("/api/raises")


@pytest.mark.parametrize(
    ("error", "detail", "errors"),
    [
        (NotFound(Lazy()), "nicht gefunden", None),  # type: ignore[arg-type]  # Flask-Babel's are passed like this
        (NotFound(b"\xff"), "b'\\xff'", None),  # type: ignore[arg-type]
        (Unregistered(), "Unknown Error", None),
        (Described(), "stay calm", None),
        (
            UnprocessableEntity([{"loc": ("age",), "ctx": {"error": ValueError("odd")}}]),  # type: ignore[arg-type]
            "Unprocessable Entity",
            [{"loc": ["age"], "ctx": {"error": "odd"}}],
        ),
        (UnprocessableEntity({"at": date(2026, 5, 1)}), "Unprocessable Entity", {"at": "2026-05-01"}),  # type: ignore[arg-type]
        (UnprocessableEntity({("a", 1): "odd"}), "Unprocessable Entity", "{('a', 1): 'odd'}"),  # type: ignore[arg-type]
        (UnprocessableEntity(circle()), "Unprocessable Entity", "[[...]]"),  # type: ignore[arg-type]
    ],
)
def test_every_description_of_an_error_is_in_the_problem(
    app: Flask, error: HTTPException, detail: str, errors: Any
) -> None:
    refused = raise_in_a_view(app, error)

    assert (refused.status_code, refused.mimetype) == (error.code, "application/problem+json")
    assert (refused.json["detail"], refused.json.get("errors")) == (detail, errors)


class OwnResponse(HTTPException):
    code = 409

    def get_response(self, *_: Any, **__: Any) -> Any:
        return jsonify(own=True)


class OwnBody(HTTPException):
    code = 409

    def get_body(self, *_: Any, **__: Any) -> str:
        return '{"own":true}'

    def get_headers(self, *_: Any, **__: Any) -> list[tuple[str, str]]:
        return [("content-type", "application/json"), ("X-Own", "1")]


class OwnDescription(HTTPException):
    code = 409

    def get_description(self, *_: Any, **__: Any) -> str:
        return "own"


@pytest.mark.parametrize(
    ("error", "body"), [(OwnResponse(), '{"own":true}'), (OwnBody(), '{"own":true}'), (OwnDescription(), "<title>409 ")]
)
def test_an_error_class_that_makes_its_own_response_keeps_it(app: Flask, error: HTTPException, body: str) -> None:
    refused = raise_in_a_view(app, error)

    assert body in refused.text and "reference" not in refused.text


def test_members_of_a_problem_may_be_of_any_type(app: Flask) -> None:
    assert raise_in_a_view(app, Problem(409, "it is sold out", since=date(2026, 5, 1))).json["since"] == "2026-05-01"
