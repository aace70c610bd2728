"""Build an app's OpenAPI document from its routes, or add security to the document of another Flask extension."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask

from valetkey.resource_server.routes import Route, iter_routes
from valetkey.settings import Settings
from valetkey.web.context import EXTENSION

from .decorator_effects import add_decorator_effects
from .limits import plans_extension
from .operation import OperationBuilder
from .path_parameters import path_template, without_parameter_names
from .schemas import SchemaBuilder, used_components
from .security import METHODS, add_operation_security, path_item_operations, shared_components

OPENAPI_VERSION = "3.1.0"


def build_document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document, as a dict, of the host's routes under the setting ``api_prefix``.

    :raises ValueError: if ``describe`` was given a type that has no JSON Schema (the message names the operation), or
        if a type is named ``Problem``, the name of the error response schema.
    """
    settings = _settings(app)
    routes = [route for route in iter_routes(app) if _is_documented(route, settings)]
    schemas = SchemaBuilder()
    builders = _build_operations(routes, schemas)
    schemas.build()
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), builder in builders.items():
        operation = builder.build()
        _rename_path_parameters(operation, path_template(builder.route.path), path)
        add_operation_security(operation, builder.route, settings, allow_bearer_scopes=True)
        add_decorator_effects(operation, builder.route, method, settings.max_body)
        paths.setdefault(path, {})[method.lower()] = operation
    components = shared_components(settings, frozenset().union(*(route.scopes for route in routes)))
    type_schemas = used_components(paths, schemas.components)
    if "Problem" in type_schemas:
        raise ValueError("a type of the API is named Problem, like the schema of error responses: rename the type")
    components["schemas"] = {**type_schemas, **components["schemas"]}
    tags = sorted({tag for item in paths.values() for operation in item.values() for tag in operation.get("tags", ())})
    return {
        "openapi": OPENAPI_VERSION,
        "info": _info(settings),
        "servers": [{"url": settings.issuer}],
        **({"tags": [{"name": tag} for tag in tags]} if tags else {}),
        **_plans_member(settings),
        "paths": dict(sorted(paths.items())),
        "components": components,
    }


def _is_documented(route: Route, settings: Settings) -> bool:
    """Return whether a route belongs in the OpenAPI document.

    It does if its path is under the setting ``api_prefix``, it is not one of Valetkey's routes, and it is not denied to
    all callers. With the setting ``protect_by_default``, a route without declared protection is denied to all callers.
    """
    is_closed = route.is_denied or (settings.protect_by_default and route.protection is None)
    return not route.is_valetkey_route and route.is_below(settings.api_prefix) and not is_closed


def load_or_build_document(app: Flask, openapi: Callable[[], dict[str, Any]] | None) -> dict[str, Any]:
    """Return the app's OpenAPI document as a dict.

    :param openapi: function that returns the OpenAPI document of another Flask extension, to which security is added;
        None to build the document from the app's routes.
    """
    return build_document(app) if openapi is None else add_security(openapi(), app)


def add_security(spec: dict[str, Any], app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of another Flask extension with security, error responses and rate limits added.

    Use it with the document of APIFlask, flask-smorest or flask-openapi. Each operation gets its security
    requirements, error responses and rate limit; the document gets the security schemes. Existing members are not
    replaced, except security requirements: those always come from the app's routes.

    :param spec: an OpenAPI 3 document. It is not modified.
    :param app: the Flask app that serves the operations, with a ``Valetkey``.
    :returns: a copy of the document with the additions.
    :raises ValueError: if the document is not OpenAPI 3, for example Swagger 2.0.
    """
    if not str(spec.get("openapi", "")).startswith("3."):
        raise ValueError("the document is not OpenAPI 3: set the extension's OpenAPI version to 3.1.0")
    settings, document = _settings(app), copy.deepcopy(spec)
    routes = {
        (without_parameter_names(path_template(route.path)), method): route
        for route in iter_routes(app)
        for method in route.methods
    }
    documented_routes = []
    for path, item in document.get("paths", {}).items():
        for method, operation in path_item_operations(item):
            route = routes.get((without_parameter_names(path), method))
            if route is not None and not route.is_valetkey_route:
                documented_routes.append(route)
                add_operation_security(
                    operation, route, settings, allow_bearer_scopes=not spec["openapi"].startswith("3.0")
                )
                add_decorator_effects(operation, route, method, settings.max_body)
    document |= _plans_member(settings)
    components = document.setdefault("components", {})
    scopes = frozenset().union(*(route.scopes for route in documented_routes))
    for kind, added in shared_components(settings, scopes).items():
        present = components.get(kind, {})
        components[kind] = {**present, **added} if kind == "securitySchemes" else added | present
    return document


def _build_operations(routes: Sequence[Route], schemas: SchemaBuilder) -> dict[tuple[str, str], OperationBuilder]:
    """Return an ``OperationBuilder`` for each operation of the routes, by path template and method in upper case.

    Paths that differ only in the names of their parameters are treated as one path, which has the parameter names of
    the first of these routes. Methods that OpenAPI does not have are left out.

    :param schemas: the collection to which the builders add the types of bodies, queries, headers and responses.
    """
    paths: dict[str, str] = {}  # path template without parameter names: the first template of this shape
    used_ids: set[str] = set()
    operation_counts = Counter(route.endpoint for route in routes for _ in route.methods)
    builders: dict[tuple[str, str], OperationBuilder] = {}
    for route in routes:
        template = path_template(route.path)
        path = paths.setdefault(without_parameter_names(template), template)
        id_needs_method = operation_counts[route.endpoint] > 1
        for method in route.methods:
            if (path, method) not in builders and method.lower() in METHODS:
                operation_id = _unique_operation_id(route.endpoint, method if id_needs_method else "", used_ids)
                builders[path, method] = OperationBuilder(route, method, operation_id, schemas)
    return builders


def _unique_operation_id(endpoint: str, method: str, used_ids: set[str]) -> str:
    """Return an operation id that is not in use, and add it to ``used_ids``.

    The id is the endpoint, then the method in lower case, then a number from 2 on if that id is in use.

    :param method: the HTTP method; empty if the endpoint has only one, to leave it out of the id.
    """
    base = operation_id = "_".join([endpoint.replace(".", "_"), *filter(None, [method.lower()])])
    number = 2
    while operation_id in used_ids:
        operation_id, number = f"{base}_{number}", number + 1
    used_ids.add(operation_id)
    return operation_id


def _rename_path_parameters(operation: dict[str, Any], template: str, path: str) -> None:
    """Rename an operation's path parameters, in place, to the names that the documented path has for them.

    :param template: the path template of the operation's own route, such as ``/notes/{id}``.
    :param path: the documented path, such as ``/notes/{note_id}``; it differs in the parameter names at most.
    """
    if template == path:
        return
    names = [part.split("}")[0] for part in path.split("{")[1:]]
    for parameter, name in zip(operation["parameters"], names, strict=False):
        parameter["name"] = name


def _plans_member(settings: Settings) -> dict[str, Any]:
    return {"x-plans": plans_extension(settings)} if settings.plans else {}


def _info(settings: Settings) -> dict[str, Any]:
    description = {"description": settings.api_description} if settings.api_description else {}
    return {"title": settings.name, "version": settings.api_version, **description}


def _settings(app: Flask) -> Settings:
    settings: Settings = app.extensions[EXTENSION].settings
    return settings
