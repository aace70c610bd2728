"""What a new OpenAPI document takes from those who rely on the old one, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from valetkey.openapi.path_parameters import without_parameter_names
from valetkey.openapi.security import path_item_operations

from .resolver import SchemaResolver
from .schemas import RequestDiff, ResponseDiff

_JsonObject = Mapping[str, Any]
_SecurityRequirements = frozenset[tuple[str, frozenset[str]]]


def breaking_changes(old: _JsonObject, new: _JsonObject) -> Iterator[str]:
    """Each change by which a call that worked, or a program that reads the answer, may fail.

    What is only added, and what is only allowed besides, breaks nobody.
    """
    sent, read = (
        RequestDiff(SchemaResolver(old), SchemaResolver(new)),
        ResponseDiff(SchemaResolver(new), SchemaResolver(old)),
    )
    paths = {without_parameter_names(path): item for path, item in new.get("paths", {}).items()}
    for path, item in old.get("paths", {}).items():
        found = paths.get(without_parameter_names(path))
        if found is None:
            yield f"the path {path} is gone"
            continue
        for method, before in path_item_operations(item):
            after = dict(path_item_operations(found)).get(method)
            where = f"{method} {path}"
            if after is None:
                yield f"the operation {where} is gone"
                continue
            change = _OperationDiff(where, sent, read)
            yield from change.parameters(_parameters(old, item, before), _parameters(new, found, after))
            yield from change.body(
                _resolve_reference(old, before.get("requestBody")), _resolve_reference(new, after.get("requestBody"))
            )
            yield from change.responses(old, before, new, after)
            yield from _security_changes(where, _security_requirements(old, before), _security_requirements(new, after))


class _OperationDiff:
    """One operation, before and after."""

    def __init__(self, operation_name: str, request_diff: RequestDiff, response_diff: ResponseDiff) -> None:
        self._operation_name, self._request_diff, self._response_diff = operation_name, request_diff, response_diff

    def parameters(self, before: list[_JsonObject], after: list[_JsonObject]) -> Iterator[str]:
        known, now = _by_location(before), _by_location(after)
        for place, one in known.items():
            told = f"the {place[0]} parameter {one['name']} of {self._operation_name}"
            found = now.get(place)
            if found is None:
                yield f"{told} is gone"
                continue
            if found.get("required") and not one.get("required"):
                yield f"{told} is required now"
            yield from self._narrowed_schema(told, one.get("schema", {}), found.get("schema", {}))
        for place in now.keys() - known.keys():
            if now[place].get("required"):
                yield f"{self._operation_name} has a new required {place[0]} parameter, {now[place]['name']}"

    def body(self, before: _JsonObject | None, after: _JsonObject | None) -> Iterator[str]:
        if not before:
            if after and after.get("required"):
                yield f"{self._operation_name} needs a body now"
            return
        if not after:
            yield f"{self._operation_name} takes no body any more"
            return
        if after.get("required") and not before.get("required"):
            yield f"the body of {self._operation_name} is required now"
        for kind, schema in _media_type_schemas(before):
            found = dict(_media_type_schemas(after)).get(kind)
            if found is None:
                yield f"{self._operation_name} takes no body of {kind} any more"
            else:
                yield from self._narrowed_schema(f"the body of {self._operation_name}", schema, found)

    def responses(
        self, old_document: _JsonObject, before: _JsonObject, new_document: _JsonObject, after: _JsonObject
    ) -> Iterator[str]:
        for status, given in before.get("responses", {}).items():
            if str(status)[0] != "2":
                continue  # a program must expect any refusal
            possible = after.get("responses", {})
            found = possible.get(status, possible.get("2XX", possible.get("default")))
            if found is None:
                yield f"{self._operation_name} answers {status} no more"
                continue
            now = dict(_media_type_schemas(_resolve_reference(new_document, found)))
            for kind, schema in _media_type_schemas(_resolve_reference(old_document, given)):
                told = f"the answer {status} of {self._operation_name}"
                if kind not in now:
                    yield f"{told} is not {kind} any more"
                    continue
                for one in self._response_diff.compare(now[kind], schema):
                    yield f"{one.location}{told} {one.description}"

    def _narrowed_schema(self, subject: str, before: _JsonObject, after: _JsonObject) -> Iterator[str]:
        for one in self._request_diff.compare(before, after):
            yield f"{one.location}{subject} {one.description}"


def _media_type_schemas(body_or_response: _JsonObject | None) -> list[tuple[str, _JsonObject]]:
    """Each media type, without its parameters, and its schema."""
    content = (body_or_response or {}).get("content", {})
    return [(kind.partition(";")[0].strip().lower(), media.get("schema", {})) for kind, media in content.items()]


def _resolve_reference(document: _JsonObject, part: _JsonObject | None) -> _JsonObject | None:
    reference = str((part or {}).get("$ref", ""))
    if not reference.startswith("#/"):
        return part
    found: Any = document
    for name in reference[2:].split("/"):
        found = found.get(name, {})
    return dict(found)


def _parameters(document: _JsonObject, item: _JsonObject, operation: _JsonObject) -> list[_JsonObject]:
    """Those of the path and those of the operation; the latter count where both have one."""
    given = [
        _resolve_reference(document, one) or {}
        for one in (*item.get("parameters", ()), *operation.get("parameters", ()))
    ]
    return list({(one.get("in"), one.get("name")): one for one in given}.values())


def _by_location(parameters: list[_JsonObject]) -> dict[tuple[str, Any], _JsonObject]:
    """By where they are and their name; of those in the path the position is the name, and headers have no case."""
    placed: dict[tuple[str, Any], _JsonObject] = {}
    for one in parameters:
        position = sum(where == "path" for where, _ in placed)
        name = one["name"].lower() if one["in"] == "header" else one["name"]
        placed[one["in"], position if one["in"] == "path" else name] = one
    return placed


def _security_requirements(document: _JsonObject, operation: _JsonObject) -> _SecurityRequirements | None:
    """Each way to be let in, as a scheme and its scopes; None: anybody is."""
    security = operation.get("security", document.get("security"))
    if not security or {} in security:
        return None
    return frozenset((scheme, frozenset(scopes)) for entry in security for scheme, scopes in entry.items())


def _security_changes(
    operation_name: str, before: _SecurityRequirements | None, after: _SecurityRequirements | None
) -> Iterator[str]:
    if after is None:
        return
    if before is None:
        yield f"{operation_name} needs an access token now"
        return
    for scheme, scopes in sorted(before, key=lambda one: (one[0], sorted(one[1]))):
        ways = [wanted for name, wanted in after if name == scheme]
        if not ways:
            yield f"{operation_name} is not opened by the security scheme {scheme} any more"
        elif not any(wanted <= scopes for wanted in ways):
            least = min(ways, key=lambda wanted: (len(wanted - scopes), sorted(wanted)))
            if scheme == "oauth2" or not any(name == "oauth2" for name, _ in before):
                yield f"{operation_name} needs the scope {' '.join(sorted(least - scopes))} now"
