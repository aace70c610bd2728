"""Build the OpenAPI operation object of a route: summary, parameters, request body, responses. No Flask import."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from valetkey.resource_server.routes import Route

from .decorator_effects import DEPRECATED_ATTRIBUTE
from .describe import ViewDescription, get_view_description
from .path_parameters import path_parameters
from .schemas import SchemaBuilder
from .security import PROBLEM_CONTENT

# Sections of a docstring that are for readers of the code: Sphinx field lists, headings of Google and NumPy style.
_DOCSTRING_SECTIONS = re.compile(
    r"^\s*(?::(?:param|type|raises?|returns?|rtype)\b|(?:Args|Arguments|Parameters|Returns|Raises|Yields):?[ \t]*$)",
    re.MULTILINE,
)


class OperationBuilder:
    """Builds the OpenAPI operation object of one route and method, in two steps.

    The constructor adds the types of the operation's query, headers, body and response to the ``SchemaBuilder``. Call
    ``build`` after ``SchemaBuilder.build``, when the schemas of all operations exist.
    """

    def __init__(self, route: Route, method: str, operation_id: str, schemas: SchemaBuilder) -> None:
        self.route, self.method, self.operation_id = route, method, operation_id
        self.view_description = get_view_description(route.view)
        self._schemas = schemas
        self._add_type("query", self.view_description.query, "validation")
        self._add_type("headers", self.view_description.headers, "validation")
        self._add_type("body", self.view_description.body, "validation")
        self._add_type("response", self.view_description.response, "serialization")

    def _schema_key(self, part: str) -> str:
        return f"{self.operation_id} {part}"

    def _add_type(self, part: str, python_type: Any, mode: Any) -> None:
        if python_type is not None:
            label = f"the {part} of {self.method} {self.route.path}"
            self._schemas.add(self._schema_key(part), python_type, mode, label)

    def build(self) -> dict[str, Any]:
        """Return the operation object, without security, rate limits and the effects of ``api_helpers`` decorators."""
        summary, description = _summary_and_description(self.route.view, self.route.endpoint)
        blueprint = self.route.endpoint.rpartition(".")[0]
        described = [*self._parameters("query", "query"), *self._parameters("headers", "header")]
        parameters = [*path_parameters(self.route.rule), *described]
        body = None if self.view_description.body is None else self._content("body")
        return {
            "operationId": self.operation_id,
            "summary": summary,
            **({"description": description} if description else {}),
            **({"tags": [blueprint]} if blueprint else {}),
            **({"deprecated": True} if self.route.get_view_attribute(DEPRECATED_ATTRIBUTE) is not None else {}),
            **({"parameters": parameters} if parameters else {}),
            **({"requestBody": {"required": True, "content": body}} if body else {}),
            "responses": self._responses(self.view_description),
        }

    def _parameters(self, part: str, location: str) -> Iterator[dict[str, Any]]:
        """Yield an OpenAPI parameter object for each query parameter or request header that the view declares.

        :param part: the argument of ``describe`` that declares them: ``query`` or ``headers``.
        :param location: their location (``in``) in OpenAPI: ``query`` or ``header``.
        """
        if getattr(self.view_description, part) is None:
            return
        for name, schema, required in self._schemas.properties(self._schema_key(part)):
            description = {"description": schema["description"]} if "description" in schema else {}
            yield {"name": name, "in": location, **description, "required": required, "schema": schema}

    def _content(self, part: str) -> dict[str, Any]:
        return {"application/json": {"schema": self._schemas.get(self._schema_key(part))}}

    def _responses(self, description: ViewDescription) -> dict[str, Any]:
        status = description.status or 200
        success: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if description.response is not None:
            success["content"] = self._content("response")
        responses: dict[str, Any] = {str(status): success}
        if self.route.rule.arguments:  # the path's converters reject some values, and the view may not find the rest
            responses["404"] = {"description": "There is nothing at this path."}
        for error_status, text in description.errors.items():
            responses[str(error_status)] = {"description": text, "content": PROBLEM_CONTENT}
        return dict(sorted(responses.items()))


def _summary_and_description(view: Any, endpoint: str) -> tuple[str, str]:
    """Return the summary and the description of an operation, from its view's docstring.

    The summary is the first paragraph, or the endpoint's name if there is no docstring. The description is the text
    after it, without ``:param:`` and similar sections; it can be empty.
    """
    doc = inspect.getdoc(inspect.unwrap(view)) or ""
    first, _, rest = _DOCSTRING_SECTIONS.split(doc, maxsplit=1)[0].strip().partition("\n\n")
    name = endpoint.rpartition(".")[2].replace("_", " ")
    return " ".join(first.split()).rstrip(".") or name[:1].upper() + name[1:], rest.strip()
