"""The OpenAPI document of an app: made from its routes, or completed where another extension made it."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask

from valetkey.resource_server.routes import Route, routes_of
from valetkey.settings import Settings
from valetkey.web.context import EXTENSION

from .decorator_effects import add_promises
from .limits import told_plans
from .operation import Operation
from .path_parameters import nameless, template_of
from .schemas import Schemas, used_components
from .security import METHODS, components, methods_of, secure

VERSION = "3.1.0"


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the routes under ``api_prefix``.

    :raises ValueError: where ``describe`` named a type that has no JSON Schema, with the sentence that says which.
    """
    settings = _settings(app)
    routes = [one for one in routes_of(app) if _is_told(one, settings)]
    schemas = Schemas()
    operations = _operations(routes, schemas)
    schemas.make()
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), one in operations.items():
        written = one.written()
        _rename(written, template_of(one.route.path), path)
        secure(written, one.route, settings, roles=True)
        add_promises(written, one.route, method, settings.max_body)
        paths.setdefault(path, {})[method.lower()] = written
    shared = components(settings, frozenset().union(*(route.scopes for route in routes)))
    needed = used_components(paths, schemas.components)
    if "Problem" in needed:
        raise ValueError("a type of the API is called Problem, as the schema of refusals is: give it another name")
    shared["schemas"] = {**needed, **shared["schemas"]}
    tags = sorted({tag for item in paths.values() for one in item.values() for tag in one.get("tags", ())})
    return {
        "openapi": VERSION,
        "info": _info(settings),
        "servers": [{"url": settings.issuer}],
        **({"tags": [{"name": tag} for tag in tags]} if tags else {}),
        **_plans(settings),
        "paths": dict(sorted(paths.items())),
        "components": shared,
    }


def _is_told(route: Route, settings: Settings) -> bool:
    """Whether a route belongs into the document: what refuses everybody does not (protect_by_default)."""
    is_closed = route.is_closed or (settings.protect_by_default and route.protection is None)
    return not route.is_own and route.is_below(settings.api_prefix) and not is_closed


def api_document(app: Flask, given: Callable[[], dict[str, Any]] | None) -> dict[str, Any]:
    """The document that the app is described by: another extension's, completed, or one made from the routes."""
    return document(app) if given is None else add_security(given(), app)


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
    routes = {(nameless(template_of(one.path)), method): one for one in routes_of(app) for method in one.methods}
    found = []
    for path, item in made.get("paths", {}).items():
        for method, operation in methods_of(item):
            route = routes.get((nameless(path), method))
            if route is not None and not route.is_own:
                found.append(route)
                secure(operation, route, settings, roles=not spec["openapi"].startswith("3.0"))
                add_promises(operation, route, method, settings.max_body)
    made |= _plans(settings)
    shared = made.setdefault("components", {})
    for kind, parts in components(settings, frozenset().union(*(one.scopes for one in found))).items():
        shared[kind] = {**shared.get(kind, {}), **parts} if kind == "securitySchemes" else parts | shared.get(kind, {})
    return made


def _operations(routes: Sequence[Route], schemas: Schemas) -> dict[tuple[str, str], Operation]:
    """Each operation by path and method. Paths that differ in their variables' names only are one: the first's."""
    written: dict[str, str] = {}
    names: set[str] = set()
    count = Counter(route.endpoint for route in routes for _ in route.methods)
    found: dict[tuple[str, str], Operation] = {}
    for route in routes:
        template = template_of(route.path)
        path = written.setdefault(nameless(template), template)
        for method in route.methods:
            if (path, method) not in found and method.lower() in METHODS:
                name = _operation_id(route.endpoint, method if count[route.endpoint] > 1 else "", names)
                found[path, method] = Operation(route, method, name, schemas)
    return found


def _operation_id(endpoint: str, method: str, taken: set[str]) -> str:
    """The endpoint's name, with the method where there are several, and a number where that is taken."""
    wanted = name = "_".join([endpoint.replace(".", "_"), *filter(None, [method.lower()])])
    number = 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name)
    return name


def _rename(operation: dict[str, Any], own: str, path: str) -> None:
    """Give the path's parameters the names that they have in the path they are written under."""
    if own == path:
        return
    names = [part.split("}")[0] for part in path.split("{")[1:]]
    for parameter, name in zip(operation["parameters"], names, strict=False):
        parameter["name"] = name


def _plans(settings: Settings) -> dict[str, Any]:
    return {"x-plans": told_plans(settings)} if settings.plans else {}


def _info(settings: Settings) -> dict[str, Any]:
    told = {"description": settings.api_description} if settings.api_description else {}
    return {"title": settings.name, "version": settings.api_version, **told}


def _settings(app: Flask) -> Settings:
    settings: Settings = app.extensions[EXTENSION].settings
    return settings
