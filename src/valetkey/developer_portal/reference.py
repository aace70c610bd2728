"""What the reference page shows, read from an OpenAPI document once. No Flask here."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from .schema_text import SchemaDescriber, SchemaMember

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    location: str  # path, query, header
    type_text: str
    required: bool
    description: str
    example: str
    choices: tuple[str, ...]
    is_array: bool


@dataclass(frozen=True, slots=True)
class OperationResponse:
    status: str
    description: str
    type_text: str
    members: tuple[SchemaMember, ...]
    is_error: bool


@dataclass(frozen=True, slots=True)
class Operation:
    anchor: str
    method: str
    path: str
    summary: str
    paragraphs: tuple[str, ...]
    access: str
    limit: str
    scopes: tuple[str, ...]
    needs_token: bool
    deprecated: bool
    parameters: tuple[Parameter, ...]
    body_type_text: str
    body_members: tuple[SchemaMember, ...]
    body_example: str
    responses: tuple[OperationResponse, ...]
    curl: str


@dataclass(frozen=True, slots=True)
class ApiReference:
    title: str
    version: str
    description: str
    groups: tuple[tuple[str, tuple[Operation, ...]], ...]
    scopes: tuple[tuple[str, str], ...]
    plans: tuple[tuple[str, str], ...]


def build_api_reference(document: Mapping[str, Any]) -> ApiReference:
    """The page's content: operations by their first tag, in the document's order."""
    components = document.get("components", {})
    reader = _ReferenceBuilder(document, SchemaDescriber(components.get("schemas", {})))
    groups: dict[str, list[Operation]] = {tag["name"]: [] for tag in document.get("tags", ())}
    for path, item in document.get("paths", {}).items():
        for method in _METHODS:
            if method in item:
                tags = item[method].get("tags") or [""]
                groups.setdefault(tags[0], []).append(reader.build_operation(path, method, item))
    flows = components.get("securitySchemes", {}).get("oauth2", {}).get("flows", {})
    info = document["info"]
    return ApiReference(
        info["title"],
        info["version"],
        info.get("description", ""),
        tuple((name, tuple(found)) for name, found in groups.items() if found),
        tuple(flows.get("authorizationCode", {}).get("scopes", {}).items()),
        tuple((name, plan["description"]) for name, plan in document.get("x-plans", {}).items()),
    )


class _ReferenceBuilder:
    def __init__(self, document: Mapping[str, Any], describer: SchemaDescriber) -> None:
        self._document, self._describer = document, describer
        self._base_url = (document.get("servers") or [{"url": ""}])[0]["url"]

    def build_operation(self, path: str, method: str, path_item: Mapping[str, Any]) -> Operation:
        said = path_item[method]
        given = [self._resolve(one) for one in (*path_item.get("parameters", ()), *said.get("parameters", ()))]
        parameters = tuple(self._build_parameter(one) for one in given)
        schema = self._json_schema(said.get("requestBody", {}))
        example = "" if schema is None else json.dumps(self._describer.example(schema), indent=2, ensure_ascii=False)
        access, limit = said.get("x-access", ""), said.get("x-rate-limit", {}).get("description", "")
        security = said.get("security", ())
        scopes = sorted({scope for entry in security for scope in entry.get("oauth2", ())})
        name = said.get("operationId") or f"{method}-{path}"
        return Operation(
            anchor=re.sub(r"[^\w-]+", "-", f"op-{name}"),
            method=method.upper(),
            path=path,
            summary=said.get("summary", ""),
            paragraphs=tuple(_paragraphs(said.get("description", ""), access, limit)),
            access=access,
            limit=limit,
            scopes=tuple(scopes),
            needs_token=bool(security),
            deprecated=bool(said.get("deprecated")),
            parameters=parameters,
            body_type_text="" if schema is None else self._describer.describe_type(schema),
            body_members=() if schema is None else tuple(self._describer.members(schema)),
            body_example=example,
            responses=tuple(
                self._build_response(str(status), one) for status, one in sorted(said["responses"].items())
            ),
            curl=self._curl_command(
                method.upper(), path, parameters, example, with_token=bool(security) and {} not in security
            ),
        )

    def _resolve(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        reference = str(part.get("$ref", ""))
        if not reference.startswith("#/"):
            return part
        found: Any = self._document
        for name in reference[2:].split("/"):
            found = found.get(name, {})
        return dict(found)

    def _build_parameter(self, parameter: Mapping[str, Any]) -> Parameter:
        schema = parameter.get("schema", {})
        found = self._describer.resolve(schema)
        example = self._describer.example(schema) if parameter.get("required") else found.get("default", "")
        return Parameter(
            parameter["name"],
            parameter["in"],
            self._describer.describe_type(schema),
            bool(parameter.get("required")),
            parameter.get("description") or found.get("description", ""),
            _field_text(example),
            tuple(_field_text(choice) for choice in found.get("enum", ())),
            found.get("type") == "array",
        )

    def _json_schema(self, body_or_response: Mapping[str, Any]) -> Mapping[str, Any] | None:
        content = self._resolve(body_or_response).get("content", {})
        for kind, media in content.items():
            if "json" in kind:
                schema: Mapping[str, Any] = media.get("schema", {})
                return schema
        return None

    def _build_response(self, status: str, response: Mapping[str, Any]) -> OperationResponse:
        response = self._resolve(response)
        schema = self._json_schema(response)
        code = int(status) if status.isdecimal() else 0
        phrase = HTTPStatus(code).phrase if code in {one.value for one in HTTPStatus} else ""
        described = response.get("description", "")
        refused = code >= 400 or not code  # what problem details hold is told once, above
        return OperationResponse(
            status,
            described if described and described != phrase else phrase,
            self._describer.describe_type(schema) if schema else "",
            tuple(self._describer.members(schema)) if schema and not refused else (),
            refused,
        )

    def _curl_command(
        self, method: str, path: str, parameters: tuple[Parameter, ...], body: str, *, with_token: bool
    ) -> str:
        for one in parameters:
            if one.location == "path":
                path = path.replace(f"{{{one.name}}}", quote(one.example, safe=""))
        query = urlencode([(one.name, one.example) for one in parameters if one.location == "query" and one.required])
        lines = ["curl " + (f"-X {method} " if method != "GET" else "")]
        lines[0] += shlex.quote(f"{self._base_url}{path}{f'?{query}' if query else ''}")
        if with_token:
            lines.append('-H "Authorization: Bearer $TOKEN"')
        needed = [one for one in parameters if one.location == "header" and one.required]
        lines += [f"-H {shlex.quote(f'{one.name}: {one.example}')}" for one in needed]
        if body:
            lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(json.loads(body)))}"]
        return " \\\n  ".join(lines)


def _paragraphs(description: str, access: str, limit: str) -> Iterator[str]:
    """The author's own words, without those about access and limit, which the page shows apart."""
    for paragraph in description.split("\n\n"):
        words = " ".join(paragraph.split())
        if words and words not in {access, f"Limit: {limit}"}:
            yield words


def _field_text(value: Any) -> str:
    """A value as one types it into a field."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
