"""List the breaking changes from an old OpenAPI document to a new one, as sentences. Pure functions, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from valetkey.openapi.path_parameters import without_parameter_names
from valetkey.openapi.references import follow_reference
from valetkey.openapi.security import path_item_operations

from .resolver import SchemaResolver
from .schemas import RequestDiff, ResponseDiff

_JsonObject = Mapping[str, Any]
_SecurityRequirements = frozenset[tuple[str, frozenset[str]]]


def breaking_changes(old: _JsonObject, new: _JsonObject) -> Iterator[str]:
    """Yield a sentence for each difference between two OpenAPI documents that can make an existing client fail.

    A client fails if a request that worked is refused, or if a response has a form that it did not have before.
    Additions and relaxed requirements are not breaking. A sentence can be repeated.
    """
    request_diff = RequestDiff(SchemaResolver(old), SchemaResolver(new))
    response_diff = ResponseDiff(SchemaResolver(new), SchemaResolver(old))
    new_items = {without_parameter_names(path): item for path, item in new.get("paths", {}).items()}
    for path, old_item in old.get("paths", {}).items():
        new_item = new_items.get(without_parameter_names(path))
        if new_item is None:
            yield f"the path {path} was removed"
            continue
        for method, before in path_item_operations(old_item):
            after = dict(path_item_operations(new_item)).get(method)
            name = f"{method} {path}"
            if after is None:
                yield f"the operation {name} was removed"
                continue
            diff = _OperationDiff(name, request_diff, response_diff)
            yield from diff.parameters(_parameters(old, old_item, before), _parameters(new, new_item, after))
            yield from diff.body(
                follow_reference(before["requestBody"], old) if "requestBody" in before else None,
                follow_reference(after["requestBody"], new) if "requestBody" in after else None,
            )
            yield from diff.responses(old, before, new, after)
            yield from _security_changes(name, _security_requirements(old, before), _security_requirements(new, after))


class _OperationDiff:
    """Compares the parameters, request body and responses of one operation in an old and a new OpenAPI document."""

    def __init__(self, operation_name: str, request_diff: RequestDiff, response_diff: ResponseDiff) -> None:
        self._operation_name, self._request_diff, self._response_diff = operation_name, request_diff, response_diff

    def parameters(self, before: list[_JsonObject], after: list[_JsonObject]) -> Iterator[str]:
        """Yield a sentence for each breaking change between the operation's old and new parameter objects."""
        old_parameters, new_parameters = _by_location(before), _by_location(after)
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


def _by_location(parameters: list[_JsonObject]) -> dict[tuple[str, Any], _JsonObject]:
    """Return OpenAPI parameter objects by their location (``in``: path, query, ...) and name.

    Header names are in lower case. A path parameter has its index in the path instead of its name, because renaming
    it does not break clients.
    """
    indexed: dict[tuple[str, Any], _JsonObject] = {}
    for parameter in parameters:
        position = sum(location == "path" for location, _ in indexed)
        name = parameter["name"].lower() if parameter["in"] == "header" else parameter["name"]
        indexed[parameter["in"], position if parameter["in"] == "path" else name] = parameter
    return indexed


def _security_requirements(document: _JsonObject, operation: _JsonObject) -> _SecurityRequirements | None:
    """Return the security schemes that an operation accepts, each with its scopes; None if it needs no credentials."""
    security = operation.get("security", document.get("security"))
    if not security or {} in security:
        return None
    return frozenset((scheme, frozenset(scopes)) for entry in security for scheme, scopes in entry.items())


def _security_changes(
    operation_name: str, before: _SecurityRequirements | None, after: _SecurityRequirements | None
) -> Iterator[str]:
    """Yield a sentence for each security scheme and set of scopes that no longer suffices to call an operation.

    :param before: the operation's security requirements in the old document, or None if it needed no credentials;
        ``after`` has those in the new document.
    """
    if after is None:
        return
    if before is None:
        yield f"{operation_name} now needs an access token"
        return
    for scheme, scopes in sorted(before, key=lambda requirement: (requirement[0], sorted(requirement[1]))):
        alternatives = [required for name, required in after if name == scheme]
        if not alternatives:
            yield f"{operation_name} no longer accepts the security scheme {scheme}"
        elif not any(required <= scopes for required in alternatives):
            closest = min(alternatives, key=lambda required: (len(required - scopes), sorted(required)))
            if scheme == "oauth2" or not any(name == "oauth2" for name, _ in before):
                yield f"{operation_name} now needs the scope {' '.join(sorted(closest - scopes))}"
