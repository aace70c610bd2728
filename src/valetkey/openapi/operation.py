"""Build the OpenAPI operation object of a route: summary, parameters, request body, responses. No Flask import."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from valetkey.resource_server.routes import Route

from .describe import ViewDescription, find_function, find_view_description, read_return_annotation
from .path_parameters import path_parameters
from .schemas.builder import SchemaBuilder, SchemaMode
from .security import PROBLEM_CONTENT

# Sections of a docstring that are for readers of the code: Sphinx field lists, headings of Google and NumPy style.
_DOCSTRING_SECTIONS = re.compile(
    r"^\s*(?::(?:param|type|raises?|returns?|rtype)\b|(?:Args|Arguments|Parameters|Returns|Raises|Yields):?[ \t]*$)",
    re.MULTILINE,
)

_STATUS_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class OperationBuilder:
    """Builds the OpenAPI operation object of one route and method, in two steps.

    The constructor adds the types of the operation's query, headers, body and response to the ``SchemaBuilder``. Call
    ``build`` after ``SchemaBuilder.build``, when the schemas of all operations exist.
    """

    def __init__(
        self, route: Route, method: str, operation_id: str, schemas: SchemaBuilder, warn: Callable[[str], None]
    ) -> None:
        self.route, self.method, self.operation_id = route, method, operation_id
        self._schemas = schemas
        description = find_view_description(route, method)
        if description.body is not None and method in {"GET", "HEAD"}:
            warn(f"{self._label('body')} is not documented: {method} requests have no body (RFC 9110 §9.3)")
            description = replace(description, body=None)
        self._errors = dict(self._read_errors(description.errors, warn))
        if description.status is not None:
            description = replace(description, status=self._read_status(description.status, warn))
        self._add_type("query", description.query, "validation")
        self._add_type("headers", description.headers, "validation")
        self._add_type("body", description.body, "validation")
        self._add_type("response", description.response, "serialization")
        self.view_description = self._with_return_type(description, warn)

    def _read_status(self, declared: Any, warn: Callable[[str], None]) -> int | None:
        """Return the declared status of the successful response; ``None`` if it cannot be one, which is warned of."""
        status = _to_status(declared, range(200, 400))
        if status is None:
            warn(f"{self._label('status')} is not documented: {declared!r} is not a number from 200 to 399")
        return status

    def _read_errors(self, declared: Any, warn: Callable[[str], None]) -> Iterator[tuple[str, str]]:
        """Yield the declared error responses as status and text, and warn of those that cannot be one."""
        if declared is not None and not isinstance(declared, Mapping):
            warn(f"{self._label('errors')} are not documented: {declared!r} is not a dict like {{404: 'No such note'}}")
            return
        for key, text in (declared or {}).items():
            status = _to_status(key, range(400, 600))
            if status is None or not isinstance(text, str):
                problem = "is not a number from 400 to 599 with the text that describes it"
                warn(f"{self._label('errors')} are not all documented: {{{key!r}: {text!r}}} {problem}")
            else:
                yield str(status), text

    def _with_return_type(self, description: ViewDescription, warn: Callable[[str], None]) -> ViewDescription:
        """Return a description with the response type and status of the view's return annotation, if it has no type.

        An annotation is written for type checkers: if no JSON Schema can be made of it, no response type is declared.
        """
        if description.response is not None:
            return description
        try:
            response, status = read_return_annotation(self.route.view)
            if response is not None:
                self._schemas.add(self._schema_key("response"), response, "serialization")
        except ValueError as problem:
            warn(f"{self._label('response')} is not documented: {problem}; declare it with describe(response=...)")
            return description
        return replace(description, response=response, status=description.status or status)

    def _label(self, part: str) -> str:
        return f"the {part} of {self.method} {self.route.path} ({self.route.endpoint})"

    def _schema_key(self, part: str) -> str:
        return f"{self.operation_id} {part}"

    def _add_type(self, part: str, python_type: Any, mode: SchemaMode) -> None:
        """Add the type of a part of the operation to the schemas.

        :raises ValueError: if it has no JSON Schema. The message names the operation and its view.
        """
        if python_type is None:
            return
        try:
            self._schemas.add(self._schema_key(part), python_type, mode)
        except ValueError as problem:
            raise ValueError(f"{self._label(part)}: {problem}") from problem

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
        success: dict[str, Any] = {"description": _STATUS_PHRASES.get(status, "Success")}
        if description.response is not None:
            success["content"] = self._content("response")
        responses: dict[str, Any] = {str(status): success}
        if self.route.rule.arguments:  # the path's converters reject some values, and the view may not find the rest
            responses["404"] = {"description": "There is nothing at this path."}
        for error_status, text in self._errors.items():
            responses[error_status] = {"description": text, "content": PROBLEM_CONTENT}
        return dict(sorted(responses.items()))


def _to_status(value: Any, valid: range) -> int | None:
    """Return a status that is a number, or text of digits; ``None`` if it is neither, or not one of ``valid``."""
    status = int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else None
    return status if status in valid else None


def _summary_and_description(view: Any, endpoint: str) -> tuple[str, str]:
    """Return the summary and the description of an operation, from its view's docstring.

    The summary is the first paragraph, or the endpoint's name if there is no docstring. The description is the text
    after it, without ``:param:`` and similar sections; it can be empty.
    """
    has_own_doc = isinstance(view, functools.partial) and "__doc__" in vars(view)
    doc = inspect.getdoc(view if has_own_doc else find_function(view)) or ""
    first, _, rest = _DOCSTRING_SECTIONS.split(doc, maxsplit=1)[0].strip().partition("\n\n")
    name = endpoint.rpartition(".")[2].replace("_", " ")
    return " ".join(first.split()).rstrip(".") or name[:1].upper() + name[1:], rest.strip()
