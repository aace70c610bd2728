"""List the breaking changes from an old OpenAPI document to a new one, as sentences. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from valetkey.openapi.path_parameters import parameter_names, without_parameter_names
from valetkey.openapi.references import follow_reference
from valetkey.openapi.schemas.resolver import SchemaResolver
from valetkey.openapi.security import path_item_operations, path_items

from .schemas import RequestDiff, ResponseDiff
from .security import issuer_changes, security_changes

_JsonObject = Mapping[str, Any]
_Parameters = Mapping[tuple[str, Any], _JsonObject]  # by location, and name or index in the path


def breaking_changes(old: _JsonObject, new: _JsonObject) -> Iterator[str]:
    """Yield a sentence for each difference between two OpenAPI documents that can make an existing client fail.

    A client fails if a request that worked is refused, or if a response has a form that it did not have before.
    Additions and relaxed requirements are not breaking. A sentence can be repeated.
    """
    yield from issuer_changes(old, new)
    request_diff = RequestDiff(SchemaResolver(old), SchemaResolver(new))
    response_diff = ResponseDiff(SchemaResolver(new), SchemaResolver(old))
    old_items, new_items = path_items(old), path_items(new)
    new_shapes = set(map(without_parameter_names, new_items))
    for path, old_item in old_items.items():
        if without_parameter_names(path) not in new_shapes:
            yield f"the path {path} was removed"
            continue
        for method, before in path_item_operations(old_item):
            name = f"{method} {path}"
            new_path = _find_path(path, method, old_items, new_items)
            if new_path is None:
                yield f"the operation {name} was removed"
                continue
            new_item = new_items[new_path]
            after = dict(path_item_operations(new_item))[method]
            diff = _OperationDiff(name, request_diff, response_diff)
            yield from diff.parameters(
                _by_location(_parameters(old, old_item, before), path),
                _by_location(_parameters(new, new_item, after), new_path),
            )
            yield from diff.body(
                follow_reference(before["requestBody"], old) if "requestBody" in before else None,
                follow_reference(after["requestBody"], new) if "requestBody" in after else None,
            )
            yield from diff.responses(old, before, new, after)
            yield from security_changes(name, old, before, new, after)


def _find_path(path: str, method: str, old_items: _JsonObject, new_items: _JsonObject) -> str | None:
    """Return the path that an operation of the old document has in the new one; None if it was removed.

    It is the same path, else the only one that differs in the names of parameters and is not in the old document.
    """

    def has_operation(candidate: str) -> bool:
        return method in dict(path_item_operations(new_items[candidate]))

    if path in new_items and has_operation(path):
        return path
    shape = without_parameter_names(path)
    renamed = [
        candidate
        for candidate in new_items
        if candidate not in old_items and without_parameter_names(candidate) == shape and has_operation(candidate)
    ]
    return renamed[0] if len(renamed) == 1 else None


class _OperationDiff:
    """Compares the parameters, request body and responses of one operation in an old and a new OpenAPI document."""

    def __init__(self, operation_name: str, request_diff: RequestDiff, response_diff: ResponseDiff) -> None:
        self._operation_name, self._request_diff, self._response_diff = operation_name, request_diff, response_diff

    def parameters(self, old_parameters: _Parameters, new_parameters: _Parameters) -> Iterator[str]:
        """Yield a sentence for each breaking change between the operation's old and new parameter objects."""
        for location, old in old_parameters.items():
            subject = f"the {location[0]} parameter {old['name']} of {self._operation_name}"
            new = new_parameters.get(location)
            if new is None:
                yield f"{subject} was removed"
                continue
            if new.get("required") and not old.get("required"):
                yield f"{subject} is now required"
            yield from self._narrowed_schema(subject, old.get("schema", {}), new.get("schema", {}))
        for location in new_parameters.keys() - old_parameters.keys():
            new = new_parameters[location]
            if new.get("required"):
                yield f"{self._operation_name} has a new required {location[0]} parameter, {new['name']}"

    def body(self, before: _JsonObject | None, after: _JsonObject | None) -> Iterator[str]:
        """Yield a sentence for each breaking change between the old and new request body (None: no body)."""
        if not before:
            if after and after.get("required"):
                yield f"{self._operation_name} now needs a body"
            return
        if not after:
            yield f"{self._operation_name} no longer accepts a body"
            return
        if after.get("required") and not before.get("required"):
            yield f"the body of {self._operation_name} is now required"
        for media_type, schema in _media_type_schemas(before):
            new_schema = dict(_media_type_schemas(after)).get(media_type)
            if new_schema is None:
                yield f"{self._operation_name} no longer accepts a body of type {media_type}"
            else:
                yield from self._narrowed_schema(f"the body of {self._operation_name}", schema, new_schema)

    def responses(
        self, old_document: _JsonObject, before: _JsonObject, new_document: _JsonObject, after: _JsonObject
    ) -> Iterator[str]:
        """Yield a sentence for each breaking change of the operation's 2xx responses.

        Other responses are not compared, because a client has to expect any error response.

        :param before: the operation object in the old document; ``after`` is the one in the new document.
        """
        for status, old_response in before.get("responses", {}).items():
            if str(status)[0] != "2":
                continue
            new_responses = after.get("responses", {})
            new_response = new_responses.get(status, new_responses.get("2XX", new_responses.get("default")))
            if new_response is None:
                yield f"{self._operation_name} no longer returns {status}"
                continue
            new_schemas = dict(_media_type_schemas(follow_reference(new_response, new_document)))
            for media_type, schema in _media_type_schemas(follow_reference(old_response, old_document)):
                subject = f"the {status} response of {self._operation_name}"
                if media_type not in new_schemas:
                    yield f"{subject} is no longer {media_type}"
                    continue
                for difference in self._response_diff.compare(new_schemas[media_type], schema):
                    yield f"{difference.location}{subject} {difference.description}"

    def _narrowed_schema(self, subject: str, before: _JsonObject, after: _JsonObject) -> Iterator[str]:
        for difference in self._request_diff.compare(before, after):
            yield f"{difference.location}{subject} {difference.description}"


def _media_type_schemas(body_or_response: _JsonObject | None) -> list[tuple[str, _JsonObject]]:
    """Return the media types of a request body or response object, each with its JSON Schema; empty for None.

    A media type is in lower case, without its parameters: ``application/json``.
    """
    content = (body_or_response or {}).get("content", {})
    return [(name.partition(";")[0].strip().lower(), media.get("schema", {})) for name, media in content.items()]


def _parameters(document: _JsonObject, item: _JsonObject, operation: _JsonObject) -> list[_JsonObject]:
    """Return the parameter objects that apply to an operation: those of its path item and its own.

    Its own replace those of the path item with the same location and name. References to nothing are left out.
    """
    parameters = [
        follow_reference(parameter, document)
        for parameter in (*item.get("parameters", ()), *operation.get("parameters", ()))
    ]
    named = {(parameter["in"], parameter["name"]): parameter for parameter in parameters if "name" in parameter}
    return list(named.values())


def _by_location(parameters: list[_JsonObject], path: str) -> _Parameters:
    """Return OpenAPI parameter objects by their location (``in``: path, query, ...) and name.

    Header names are in lower case. A path parameter has its index in the path instead of its name, because renaming
    it does not break clients; one that the path does not name has the next index.
    """
    names_in_path = parameter_names(path)
    present = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
    unnamed = (index for index, name in enumerate(names_in_path) if name not in present)
    indexed: dict[tuple[str, Any], _JsonObject] = {}
    for parameter in parameters:
        name: Any = parameter["name"]
        if parameter["in"] == "header":
            name = name.lower()
        elif parameter["in"] == "path":
            name = names_in_path.index(name) if name in names_in_path else next(unnamed, name)
        indexed[parameter["in"], name] = parameter
    return indexed
