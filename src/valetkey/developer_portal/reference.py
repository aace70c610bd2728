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

from .schema_text import Member, SchemaWords

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    where: str  # path, query, header
    kind: str
    required: bool
    description: str
    example: str
    choices: tuple[str, ...]
    several: bool


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    description: str
    kind: str
    members: tuple[Member, ...]
    refuses: bool


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
    body_kind: str
    body_members: tuple[Member, ...]
    body_example: str
    answers: tuple[Answer, ...]
    curl: str


@dataclass(frozen=True, slots=True)
class Reference:
    title: str
    version: str
    description: str
    groups: tuple[tuple[str, tuple[Operation, ...]], ...]
    scopes: tuple[tuple[str, str], ...]
    plans: tuple[tuple[str, str], ...]


def reference(document: Mapping[str, Any]) -> Reference:
    """The page's content: operations by their first tag, in the document's order."""
    components = document.get("components", {})
    reader = _Reader(document, SchemaWords(components.get("schemas", {})))
    groups: dict[str, list[Operation]] = {tag["name"]: [] for tag in document.get("tags", ())}
    for path, item in document.get("paths", {}).items():
        for method in _METHODS:
            if method in item:
                tags = item[method].get("tags") or [""]
                groups.setdefault(tags[0], []).append(reader.operation(path, method, item))
    flows = components.get("securitySchemes", {}).get("oauth2", {}).get("flows", {})
    info = document["info"]
    return Reference(
        info["title"],
        info["version"],
        info.get("description", ""),
        tuple((name, tuple(found)) for name, found in groups.items() if found),
        tuple(flows.get("authorizationCode", {}).get("scopes", {}).items()),
        tuple((name, plan["description"]) for name, plan in document.get("x-plans", {}).items()),
    )


class _Reader:
    def __init__(self, document: Mapping[str, Any], words: SchemaWords) -> None:
        self._document, self._words = document, words
        self._base = (document.get("servers") or [{"url": ""}])[0]["url"]

    def operation(self, path: str, method: str, item: Mapping[str, Any]) -> Operation:
        said = item[method]
        given = [self._resolve(one) for one in (*item.get("parameters", ()), *said.get("parameters", ()))]
        parameters = tuple(self._parameter(one) for one in given)
        schema = self._schema(said.get("requestBody", {}))
        example = "" if schema is None else json.dumps(self._words.example(schema), indent=2, ensure_ascii=False)
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
            body_kind="" if schema is None else self._words.kind(schema),
            body_members=() if schema is None else tuple(self._words.members(schema)),
            body_example=example,
            answers=tuple(self._answer(str(status), one) for status, one in sorted(said["responses"].items())),
            curl=self._curl(
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

    def _parameter(self, one: Mapping[str, Any]) -> Parameter:
        schema = one.get("schema", {})
        found = self._words.resolve(schema)
        example = self._words.example(schema) if one.get("required") else found.get("default", "")
        return Parameter(
            one["name"],
            one["in"],
            self._words.kind(schema),
            bool(one.get("required")),
            one.get("description") or found.get("description", ""),
            _typed(example),
            tuple(_typed(choice) for choice in found.get("enum", ())),
            found.get("type") == "array",
        )

    def _schema(self, holder: Mapping[str, Any]) -> Mapping[str, Any] | None:
        content = self._resolve(holder).get("content", {})
        for kind, media in content.items():
            if "json" in kind:
                schema: Mapping[str, Any] = media.get("schema", {})
                return schema
        return None

    def _answer(self, status: str, answer: Mapping[str, Any]) -> Answer:
        answer = self._resolve(answer)
        schema = self._schema(answer)
        code = int(status) if status.isdecimal() else 0
        phrase = HTTPStatus(code).phrase if code in {one.value for one in HTTPStatus} else ""
        described = answer.get("description", "")
        refused = code >= 400 or not code  # what problem details hold is told once, above
        return Answer(
            status,
            described if described and described != phrase else phrase,
            self._words.kind(schema) if schema else "",
            tuple(self._words.members(schema)) if schema and not refused else (),
            refused,
        )

    def _curl(self, method: str, path: str, parameters: tuple[Parameter, ...], body: str, *, with_token: bool) -> str:
        for one in parameters:
            if one.where == "path":
                path = path.replace(f"{{{one.name}}}", quote(one.example, safe=""))
        query = urlencode([(one.name, one.example) for one in parameters if one.where == "query" and one.required])
        lines = ["curl " + (f"-X {method} " if method != "GET" else "")]
        lines[0] += shlex.quote(f"{self._base}{path}{f'?{query}' if query else ''}")
        if with_token:
            lines.append('-H "Authorization: Bearer $TOKEN"')
        needed = [one for one in parameters if one.where == "header" and one.required]
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


def _typed(value: Any) -> str:
    """A value as one types it into a field."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
