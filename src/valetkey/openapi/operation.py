"""A route as an operation of OpenAPI: its parameters, its body, its answers, and its words. No Flask here."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from valetkey.resource_server.routes import Route

from .decorator_effects import DEPRECATED
from .describe import Description, description_of
from .path_parameters import path_parameters
from .schemas import Schemas
from .security import PROBLEM_CONTENT

# Sphinx's field lists, and the headings of Google's and NumPy's docstrings
_FOR_CODERS = re.compile(
    r"^\s*(?::(?:param|type|raises?|returns?|rtype)\b|(?:Args|Arguments|Parameters|Returns|Raises|Yields):?[ \t]*$)",
    re.MULTILINE,
)


class Operation:
    """One operation in the making: types are collected first, the object is written when schemas are made."""

    def __init__(self, route: Route, method: str, operation_id: str, schemas: Schemas) -> None:
        self.route, self.method, self.operation_id = route, method, operation_id
        self.said = description_of(route.view)
        self._schemas = schemas
        self._add("query", self.said.query, "validation")
        self._add("headers", self.said.headers, "validation")
        self._add("body", self.said.body, "validation")
        self._add("response", self.said.response, "serialization")

    def _key(self, part: str) -> str:
        return f"{self.operation_id} {part}"

    def _add(self, part: str, kind: Any, mode: Any) -> None:
        if kind is not None:
            where = f"the {part} of {self.method} {self.route.path}"
            self._schemas.add(self._key(part), kind, mode, where)

    def written(self) -> dict[str, Any]:
        """The operation object, without what its protection adds."""
        summary, description = _words(self.route.view, self.route.endpoint)
        blueprint = self.route.endpoint.rpartition(".")[0]
        given = [*self._members("query", "query"), *self._members("headers", "header")]
        parameters = [*path_parameters(self.route.rule), *given]
        body = None if self.said.body is None else self._content("body")
        return {
            "operationId": self.operation_id,
            "summary": summary,
            **({"description": description} if description else {}),
            **({"tags": [blueprint]} if blueprint else {}),
            **({"deprecated": True} if self.route.said(DEPRECATED) is not None else {}),
            **({"parameters": parameters} if parameters else {}),
            **({"requestBody": {"required": True, "content": body}} if body else {}),
            "responses": self._answers(self.said),
        }

    def _members(self, part: str, where: str) -> Iterator[dict[str, Any]]:
        """The members of a type as parameters."""
        if getattr(self.said, part) is None:
            return
        for name, schema, required in self._schemas.members(self._key(part)):
            told = {"description": schema["description"]} if "description" in schema else {}
            yield {"name": name, "in": where, **told, "required": required, "schema": schema}

    def _content(self, part: str) -> dict[str, Any]:
        return {"application/json": {"schema": self._schemas.of(self._key(part))}}

    def _answers(self, said: Description) -> dict[str, Any]:
        status = said.status or 200
        answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if said.response is not None:
            answer["content"] = self._content("response")
        answers: dict[str, Any] = {str(status): answer}
        if self.route.rule.arguments:  # what the path's converters do not take, and what is not there
            answers["404"] = {"description": "There is nothing at this path."}
        for code, words in said.errors.items():
            answers[str(code)] = {"description": words, "content": PROBLEM_CONTENT}
        return dict(sorted(answers.items()))


def _words(view: Any, endpoint: str) -> tuple[str, str]:
    """The docstring's first sentence, and the rest without what is for the reader of the code."""
    doc = inspect.getdoc(inspect.unwrap(view)) or ""
    first, _, rest = _FOR_CODERS.split(doc, maxsplit=1)[0].strip().partition("\n\n")
    name = endpoint.rpartition(".")[2].replace("_", " ")
    return " ".join(first.split()).rstrip(".") or name[:1].upper() + name[1:], rest.strip()
