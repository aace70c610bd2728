"""Build an app's OpenAPI document from its routes, or add security to the document of another Flask extension."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask

from valetkey.protocol.json_encoding import encode_json
from valetkey.resource_server.routes import Route, iter_routes
from valetkey.settings import Settings
from valetkey.web.context import EXTENSION

from .decorator_effects import add_decorator_effects
from .imported.normalization import normalize_document
from .imported.route_matching import RouteMatcher
from .limits import plans_extension
from .names import name_operations
from .operation import OperationBuilder
from .path_parameters import parameter_names, path_template, without_parameter_names
from .schemas.builder import SchemaBuilder, used_components
from .security import METHODS, IssuerMetadata, add_operation_security, shared_components

OPENAPI_VERSION = "3.1.0"
Warn = Callable[[str], None]
_log = logging.getLogger("valetkey")


def build_document(
    app: Flask, issuer_metadata: IssuerMetadata | None = None, warn: Warn = _log.warning
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document, as a dict, of the host's routes under the setting ``api_prefix``.

    :param issuer_metadata: for an app with a ``ResourceServer``, the metadata of the issuers as far as it is known.
    :param warn: called with a sentence for each operation that cannot be documented completely.
    :raises ValueError: if ``describe`` was given a type that has no JSON Schema. The message names the operation.
    """
    settings, trusted_issuers = _settings_and_issuers(app, issuer_metadata)
    routes = [route for route in iter_routes(app) if _is_documented(route, settings)]
    schemas = SchemaBuilder()
    builders = _build_operations(routes, schemas, warn)
    schemas.build()
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), builder in builders.items():
        operation = builder.build()
        _rename_path_parameters(operation, path_template(builder.route.path), path)
        add_operation_security(operation, builder.route, settings, trusted_issuers, allow_bearer_scopes=True)
        add_decorator_effects(operation, builder.route, method, settings.max_body)
        paths.setdefault(path, {})[method.lower()] = operation
    components = shared_components(settings, trusted_issuers, frozenset().union(*(route.scopes for route in routes)))
    type_schemas = used_components(paths, schemas.components)
    components["schemas"] = {**type_schemas, **components["schemas"]}
    tags = sorted({tag for item in paths.values() for operation in item.values() for tag in operation.get("tags", ())})
    document = {
        "openapi": OPENAPI_VERSION,
        "info": _info(settings),
        "servers": [{"url": str(settings.issuer)}],  # the default issuer is of a subclass
        **({"tags": [{"name": tag} for tag in tags]} if tags else {}),
        **_plans_member(settings),
        "paths": dict(sorted(paths.items())),
        "components": components,
    }
    return _without_shared_parts(document)


def _is_documented(route: Route, settings: Settings) -> bool:
    """Return whether a route belongs in the OpenAPI document.

    It does if its path is under the setting ``api_prefix``, it is not one of Valetkey's routes, and it is not denied to
    all callers. With the setting ``protect_by_default``, a route without declared protection is denied to all callers.
    """
    is_denied = settings.protect_by_default and route.protection is None
    return not route.is_valetkey_route and route.is_below(settings.api_prefix) and not is_denied


def load_or_build_document(
    app: Flask,
    openapi: Callable[[], dict[str, Any]] | None,
    issuer_metadata: IssuerMetadata | None = None,
    warn: Warn = _log.warning,
) -> dict[str, Any]:
    """Return the app's OpenAPI document as a dict.

    :param openapi: function that returns the OpenAPI document of another Flask extension, to which security is added;
        None to build the document from the app's routes.
    :param issuer_metadata: as for ``build_document``.
    :param warn: as for ``build_document``; by default, it writes to the log.
    """
    if openapi is None:
        return build_document(app, issuer_metadata, warn)
    return _add_security(openapi(), app, issuer_metadata, warn)


def add_security(spec: dict[str, Any], app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of another Flask extension with security, error responses and rate limits added.

    Use it with the document of APIFlask, flask-smorest or flask-openapi. Each operation gets its security
    requirements, error responses and rate limit; the document gets the security schemes. Existing members are not
    replaced, except security requirements: those always come from the app's routes. An operation is found by the path
    of its server followed by its own; the log names those that have no route.

    :param spec: an OpenAPI 3 document, which may be read from YAML. It is not modified.
    :param app: the Flask app that serves the operations, with a ``Valetkey`` or a ``ResourceServer``.
    :returns: a copy of the document with the additions.
    :raises ValueError: if the document is not OpenAPI 3, for example Swagger 2.0, or is malformed.
    """
    return _add_security(spec, app, None, _log.warning)


def _add_security(
    spec: dict[str, Any], app: Flask, issuer_metadata: IssuerMetadata | None, warn: Warn
) -> dict[str, Any]:
    settings, trusted_issuers = _settings_and_issuers(app, issuer_metadata)
    document = normalize_document(spec, settings)
    allow_bearer_scopes = not document["openapi"].startswith("3.0")
    documented_routes = []
    for operation, method, route in RouteMatcher(iter_routes(app), settings.issuer).iter_matches(document, warn):
        documented_routes.append(route)
        add_operation_security(operation, route, settings, trusted_issuers, allow_bearer_scopes=allow_bearer_scopes)
        add_decorator_effects(operation, route, method, settings.max_body)
    document |= _plans_member(settings)
    components = document.setdefault("components", {})
    scopes = frozenset().union(*(route.scopes for route in documented_routes))
    for kind, added in shared_components(settings, trusted_issuers, scopes).items():
        present = components.get(kind, {})
        components[kind] = {**present, **added} if kind == "securitySchemes" else added | present
    return _without_shared_parts(document)


def _build_operations(
    routes: Sequence[Route], schemas: SchemaBuilder, warn: Warn
) -> dict[tuple[str, str], OperationBuilder]:
    """Return an ``OperationBuilder`` for each operation of the routes, by path template and method in upper case.

    Paths that differ only in the names of their parameters are one path in OpenAPI (3.1 §4.8.8), which has the
    parameter names of the first of these routes. If several of them have a method, only the operation of the first one
    can be documented. Methods that OpenAPI does not have are left out.

    :param schemas: the collection to which the builders add the types of bodies, queries, headers and responses.
    """
    paths: dict[str, str] = {}  # path template without parameter names: the first template of this shape
    operations: dict[tuple[str, str], Route] = {}
    for route in routes:
        template = path_template(route.path)
        path = paths.setdefault(without_parameter_names(template), template)
        for method in route.methods:
            if method.lower() not in METHODS:
                continue
            documented = operations.setdefault((path, method), route)
            if documented is not route:
                reason = f"OpenAPI cannot distinguish it from {documented.path} ({documented.endpoint})"
                warn(f"{method} {route.path} ({route.endpoint}) is not documented: {reason}")
    operation_ids = name_operations(operations)
    return {
        (path, method): OperationBuilder(route, method, operation_ids[path, method], schemas, warn)
        for (path, method), route in operations.items()
    }


def _rename_path_parameters(operation: dict[str, Any], template: str, path: str) -> None:
    """Rename an operation's path parameters, in place, to the names that the documented path has for them.

    :param template: the path template of the operation's own route, such as ``/notes/{id}``.
    :param path: the documented path, such as ``/notes/{note_id}``; it differs in the parameter names at most.
    """
    if template == path:
        return
    for parameter, name in zip(operation["parameters"], parameter_names(path), strict=False):
        parameter["name"] = name


def _without_shared_parts(document: dict[str, Any]) -> dict[str, Any]:
    """Return a copy in which no part is that of another document or operation: the caller may change it."""
    copied: dict[str, Any] = json.loads(encode_json(document))
    return copied


def _plans_member(settings: Settings) -> dict[str, Any]:
    return {"x-plans": plans_extension(settings)} if settings.plans else {}


def _info(settings: Settings) -> dict[str, Any]:
    description = {"description": settings.api_description} if settings.api_description else {}
    return {"title": settings.name, "version": settings.api_version, **description}


def _settings_and_issuers(app: Flask, metadata: IssuerMetadata | None) -> tuple[Settings, IssuerMetadata]:
    """Return the settings of an app, and the other servers that issue its tokens: none if it has a ``Valetkey``.

    :param metadata: the known metadata of these servers.
    """
    extension: Any = app.extensions[EXTENSION]
    return extension.settings, {issuer: (metadata or {}).get(issuer, {}) for issuer in extension.trusted_issuers}
