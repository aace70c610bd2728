"""Build the content of the API reference page from an OpenAPI document. Does not import Flask."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from valetkey.openapi.references import follow_reference
from valetkey.openapi.security import path_items
from valetkey.openapi.servers import path_below, server_urls

from .schema_text import SchemaDescriber, SchemaMember

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A path, query or header parameter of an operation, as the API reference page shows it."""

    name: str
    location: str  # path, query or header
    type_text: str
    required: bool
    description: str
    example: str  # the default if the parameter is optional
    choices: tuple[str, ...]  # the values of its enum
    is_array: bool


@dataclass(frozen=True, slots=True)
class OperationResponse:
    """The response of an operation for one HTTP status, as the API reference page shows it."""

    status: str
    description: str
    type_text: str
    members: tuple[SchemaMember, ...]  # empty for errors: the page describes problem details once
    is_error: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """An API operation, as the API reference page shows it; a text is empty if there is nothing to show."""

    anchor: str  # id of its element on the page
    method: str  # in upper case
    path: str
    summary: str
    paragraphs: tuple[str, ...]
    access: str  # which access token it needs, in English
    limit: str  # its rate limit, in English
    scopes: tuple[str, ...]
    needs_token: bool
    deprecated: bool
    parameters: tuple[Parameter, ...]
    body_type_text: str
    body_members: tuple[SchemaMember, ...]
    body_example: str  # indented JSON
    can_be_tried: bool  # whether a browser can send the request
    responses: tuple[OperationResponse, ...]
    curl: str  # an example call


@dataclass(frozen=True, slots=True)
class ApiReference:
    """The whole content of the API reference page: title, operations by tag, scopes and plans."""

    title: str
    version: str
    description: str
    groups: tuple[tuple[str, tuple[Operation, ...]], ...]  # tag, operations
    scopes: tuple[tuple[str, str], ...]  # name, description
    plans: tuple[tuple[str, str], ...]  # name, description


def build_api_reference(document: Mapping[str, Any], issuer: str) -> ApiReference:
    """Build the content of the API reference page from an OpenAPI document.

    Operations are grouped by their first tag, ``""`` without a tag, in the order of the document.

    :param issuer: the URL of the page's server: paths of operations are below it.
    """
    components = document.get("components", {})
    builder = _ReferenceBuilder(document, SchemaDescriber(document), issuer)
    groups: dict[str, list[Operation]] = {str(tag["name"]): [] for tag in document.get("tags", ()) if "name" in tag}
    for path, item in path_items(document).items():
        for method in _METHODS:
            if method in item:
                tags = item[method].get("tags") or [""]
                groups.setdefault(str(tags[0]), []).append(builder.build_operation(path, method, item))
    flows = components.get("securitySchemes", {}).get("oauth2", {}).get("flows", {})
    info = document["info"]
    return ApiReference(
        info["title"],
        info["version"],
        info.get("description", ""),
        tuple((tag, tuple(operations)) for tag, operations in groups.items() if operations),
        tuple(flows.get("authorizationCode", {}).get("scopes", {}).items()),
        tuple((name, plan["description"]) for name, plan in document.get("x-plans", {}).items()),
    )


class _ReferenceBuilder:
    def __init__(self, document: Mapping[str, Any], describer: SchemaDescriber, issuer: str) -> None:
        self._document, self._describer, self._issuer = document, describer, issuer

    def build_operation(self, path: str, method: str, path_item: Mapping[str, Any]) -> Operation:
        source = path_item[method]
        parameter_objects = (*path_item.get("parameters", ()), *source.get("parameters", ()))
        followed = [follow_reference(parameter, self._document) for parameter in parameter_objects]
        parameters = tuple(self._build_parameter(parameter) for parameter in followed if "name" in parameter)
        schema = self._json_schema(source.get("requestBody", {}))
        example = "" if schema is None else json.dumps(self._describer.example(schema), indent=2, ensure_ascii=False)
        access, limit = source.get("x-access", ""), source.get("x-rate-limit", {}).get("description", "")
        security = source.get("security", ())
        scopes = sorted({scope for entry in security for scope in entry.get("oauth2", ())})
        name = source.get("operationId") or f"{method}-{path}"
        server_url = server_urls(self._document, path_item, source, self._issuer)[0]
        return Operation(
            anchor=re.sub(r"[^\w-]+", "-", f"op-{name}"),
            method=method.upper(),
            path=path_below(server_url, self._issuer) + path,
            summary=str(source.get("summary", "")),
            paragraphs=tuple(_paragraphs(str(source.get("description", "")), access, limit)),
            access=access,
            limit=limit,
            scopes=tuple(scopes),
            needs_token=bool(security),
            deprecated=bool(source.get("deprecated")),
            parameters=parameters,
            body_type_text="" if schema is None else self._describer.describe_type(schema),
            body_members=() if schema is None else self._describer.members(schema),
            body_example=example,
            can_be_tried=schema is None or method not in {"get", "head"},
            responses=tuple(
                self._build_response(str(status), response) for status, response in sorted(source["responses"].items())
            ),
            curl=self._curl_command(
                method.upper(), server_url + path, parameters, example, with_token=bool(security) and {} not in security
            ),
        )

    def _build_parameter(self, parameter: Mapping[str, Any]) -> Parameter:
        schema = parameter.get("schema", {})
        resolved = self._describer.resolve(schema)
        example = self._describer.example(schema) if parameter.get("required") else resolved.get("default", "")
        return Parameter(
            str(parameter["name"]),
            parameter.get("in", "query"),
            self._describer.describe_type(schema),
            bool(parameter.get("required")),
            str(parameter.get("description") or resolved.get("description", "")),
            _field_text(example),
            tuple(map(_field_text, self._describer.choices(schema))),
            self._describer.is_list(schema),
        )

    def _json_schema(self, body_or_response: Mapping[str, Any]) -> Any:
        """Return the JSON Schema of a request body or response, or None if it has no JSON media type."""
        content = follow_reference(body_or_response, self._document).get("content", {})
        for media_type, media in content.items():
            if "json" in media_type:
                return media.get("schema", {})
        return None

    def _build_response(self, status: str, response: Mapping[str, Any]) -> OperationResponse:
        response = follow_reference(response, self._document)
        schema = self._json_schema(response)
        code = int(status) if status.isdecimal() else 0
        phrase = HTTPStatus(code).phrase if code in {http_status.value for http_status in HTTPStatus} else ""
        is_error = code >= 400 or not code
        return OperationResponse(
            status,
            str(response.get("description", "")) or phrase,
            self._describer.describe_type(schema) if schema else "",
            self._describer.members(schema) if schema and not is_error else (),
            is_error,
        )

    def _curl_command(
        self, method: str, url: str, parameters: tuple[Parameter, ...], body: str, *, with_token: bool
    ) -> str:
        """Return an example curl command for an operation, with example values for its required parameters.

        :param url: the URL of the operation, with the names of its path parameters in braces.
        :param body: the JSON text of an example request body; empty if the operation has none.
        :param with_token: whether the command sends an access token, as ``$TOKEN``.
        """
        required = [parameter for parameter in parameters if parameter.required]
        for parameter in parameters:
            if parameter.location == "path":
                url = url.replace(f"{{{parameter.name}}}", quote(parameter.example, safe=""))
        query = urlencode(
            [
                (parameter.name, value)
                for parameter in required
                for value in (parameter.example.split(",") if parameter.is_array else [parameter.example])
                if parameter.location == "query"
            ]
        )
        option = "--head " if method == "HEAD" else f"-X {method} " if method != "GET" or body else ""
        lines = [f"curl {option}{shlex.quote(f'{url}?{query}' if query else url)}"]
        if with_token:
            lines.append('-H "Authorization: Bearer $TOKEN"')
        headers = [f"{parameter.name}: {parameter.example}" for parameter in required if parameter.location == "header"]
        lines += [f"-H {shlex.quote(header)}" for header in headers]
        if body:
            lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(json.loads(body)))}"]
        return " \\\n  ".join(lines)


def _paragraphs(description: str, access: str, limit: str) -> Iterator[str]:
    """Yield the paragraphs of an operation's description, without those that the page shows separately.

    :param access: the paragraph about the access token that the operation needs.
    :param limit: the text of the paragraph about its rate limit.
    """
    for paragraph in description.split("\n\n"):
        text = " ".join(paragraph.split())
        if text and text not in {access, f"Limit: {limit}"}:
            yield text


def _field_text(value: Any) -> str:
    """Return a JSON value as the text of an HTML form field, such as ``true`` or ``null``; lists joined by commas."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
