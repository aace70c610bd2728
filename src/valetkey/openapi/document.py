"""The OpenAPI document of an app: made from its routes, or completed where another extension made it."""

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
    """The OpenAPI 3.1 document of the routes under ``api_prefix``.

    :raises ValueError: where ``describe`` named a type that has no JSON Schema, with the sentence that says which.
    """
    settings = _settings(app)
    routes = [one for one in iter_routes(app) if _is_documented(one, settings)]
    schemas = SchemaBuilder()
    operations = _build_operations(routes, schemas)
    schemas.build()
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), one in operations.items():
        written = one.build()
        _rename_path_parameters(written, path_template(one.route.path), path)
        add_operation_security(written, one.route, settings, allow_bearer_scopes=True)
        add_decorator_effects(written, one.route, method, settings.max_body)
        paths.setdefault(path, {})[method.lower()] = written
    shared = shared_components(settings, frozenset().union(*(route.scopes for route in routes)))
    needed = used_components(paths, schemas.components)
    if "Problem" in needed:
        raise ValueError("a type of the API is called Problem, as the schema of refusals is: give it another name")
    shared["schemas"] = {**needed, **shared["schemas"]}
    tags = sorted({tag for item in paths.values() for one in item.values() for tag in one.get("tags", ())})
    return {
        "openapi": OPENAPI_VERSION,
        "info": _info(settings),
        "servers": [{"url": settings.issuer}],
        **({"tags": [{"name": tag} for tag in tags]} if tags else {}),
        **_plans_member(settings),
        "paths": dict(sorted(paths.items())),
        "components": shared,
    }


def _is_documented(route: Route, settings: Settings) -> bool:
    """Whether a route belongs into the document: what refuses everybody does not (protect_by_default)."""
    is_closed = route.is_denied or (settings.protect_by_default and route.protection is None)
    return not route.is_valetkey_route and route.is_below(settings.api_prefix) and not is_closed


def load_or_build_document(app: Flask, openapi: Callable[[], dict[str, Any]] | None) -> dict[str, Any]:
    """The document that the app is described by: another extension's, completed, or one made from the routes."""
    return build_document(app) if openapi is None else add_security(openapi(), app)


def add_security(spec: dict[str, Any], app: Flask) -> dict[str, Any]:
    """A document that APIFlask, flask-smorest or flask-openapi made, with what Valetkey knows of its operations.

    Each operation gets its security requirements, its refusals and its limit; the document gets the security
    schemes. What stands there already is kept, security requirements excepted: the routes are the truth.

    :param spec: an OpenAPI 3 document; it is not changed.
    :raises ValueError: for Swagger 2.0.
    """
    if not str(spec.get("openapi", "")).startswith("3."):
        raise ValueError("an OpenAPI 3 document is needed: set the extension's OpenAPI version to 3.1.0")
    settings, made = _settings(app), copy.deepcopy(spec)
    routes = {
        (without_parameter_names(path_template(one.path)), method): one
        for one in iter_routes(app)
        for method in one.methods
    }
    found = []
    for path, item in made.get("paths", {}).items():
        for method, operation in path_item_operations(item):
            route = routes.get((without_parameter_names(path), method))
            if route is not None and not route.is_valetkey_route:
                found.append(route)
                add_operation_security(
                    operation, route, settings, allow_bearer_scopes=not spec["openapi"].startswith("3.0")
                )
                add_decorator_effects(operation, route, method, settings.max_body)
    made |= _plans_member(settings)
    shared = made.setdefault("components", {})
    for kind, parts in shared_components(settings, frozenset().union(*(one.scopes for one in found))).items():
        shared[kind] = {**shared.get(kind, {}), **parts} if kind == "securitySchemes" else parts | shared.get(kind, {})
    return made


def _build_operations(routes: Sequence[Route], schemas: SchemaBuilder) -> dict[tuple[str, str], OperationBuilder]:
    """Each operation by path and method. Paths that differ in their variables' names only are one: the first's."""
    written: dict[str, str] = {}
    names: set[str] = set()
    count = Counter(route.endpoint for route in routes for _ in route.methods)
    found: dict[tuple[str, str], OperationBuilder] = {}
    for route in routes:
        template = path_template(route.path)
        path = written.setdefault(without_parameter_names(template), template)
        for method in route.methods:
            if (path, method) not in found and method.lower() in METHODS:
                name = _unique_operation_id(route.endpoint, method if count[route.endpoint] > 1 else "", names)
                found[path, method] = OperationBuilder(route, method, name, schemas)
    return found


def _unique_operation_id(endpoint: str, method: str, used_ids: set[str]) -> str:
    """The endpoint's name, with the method where there are several, and a number where that is taken."""
    wanted = name = "_".join([endpoint.replace(".", "_"), *filter(None, [method.lower()])])
    number = 2
    while name in used_ids:
        name, number = f"{wanted}_{number}", number + 1
    used_ids.add(name)
    return name


def _rename_path_parameters(operation: dict[str, Any], template: str, path: str) -> None:
    """Give the path's parameters the names that they have in the path they are written under."""
    if template == path:
        return
    names = [part.split("}")[0] for part in path.split("{")[1:]]
    for parameter, name in zip(operation["parameters"], names, strict=False):
        parameter["name"] = name


def _plans_member(settings: Settings) -> dict[str, Any]:
    return {"x-plans": plans_extension(settings)} if settings.plans else {}


def _info(settings: Settings) -> dict[str, Any]:
    told = {"description": settings.api_description} if settings.api_description else {}
    return {"title": settings.name, "version": settings.api_version, **told}


def _settings(app: Flask) -> Settings:
    settings: Settings = app.extensions[EXTENSION].settings
    return settings
