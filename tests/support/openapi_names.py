"""Routes whose types and paths are hard to name in an OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from flask import Flask
from pydantic import BaseModel, ConfigDict, Field, computed_field

from tests.support import openapi_apps
from valetkey import describe, public

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]
    status: Literal["first", "last"]


@dataclass
class Note:
    """Has the name of a type of another module."""

    status: Literal["open", "done"]


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Home(BaseModel):
    model_config = ConfigDict(title="A home for animals")
    pet: Cat | Dog = Field(discriminator="kind")

    @computed_field  # type: ignore[prop-decorator]  # mypy does not support decorators on top of @property
    @property
    def is_full(self) -> bool:
        return True


class Problem(BaseModel):
    """Has the name of the schema of error responses."""

    place: str


def _route(path: str, response: Any, **types: Any) -> Callable[[Flask], None]:
    def add(app: Flask) -> None:
        view = describe(response=response, **types)(public(lambda **_: {}))
        app.add_url_rule(path, path.strip("/").replace("/", "-"), view, methods=["POST"])

    return add


# Each is a function that adds a route to an app.
ROUTES = [
    _route("/api/notes", list[Note]),
    _route("/api/old/notes", openapi_apps.Note),
    _route("/api/notes/page", Page[Note]),
    _route("/api/cats/page", Page[Cat]),
    _route("/api/homes", Home, body=Home),
    _route("/api/problems", Problem),
]
