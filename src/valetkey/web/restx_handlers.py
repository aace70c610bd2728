"""Error handlers in the registry of Flask-RESTX: ``@api.errorhandler`` and ``@namespace.errorhandler``.

Flask-RESTX is not imported: its ``Api`` objects are found where they have replaced ``app.handle_user_exception``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flask import Flask, Response


def find_restx_handler(
    app: Flask, endpoint: str | None, classes: Sequence[type]
) -> Callable[[Exception], Response] | None:
    """Return the function that makes the response to an exception as a handler of Flask-RESTX does.

    Return ``None`` if no ``Api`` has the endpoint, or if that has no handler for one of the classes.

    :param classes: the classes that a handler must be registered for exactly; the first one that has a handler counts.
    """
    for api in _iter_apis(app):
        if endpoint is not None and api.owns_endpoint(endpoint):
            registries = (api.error_handlers, *(namespace.error_handlers for namespace in api.namespaces))
            handlers = {key: handler for registry in registries for key, handler in registry.items()}
            for exception_class in classes:
                if exception_class in handlers:
                    return functools.partial(_respond, api, handlers[exception_class])
    return None


def _iter_apis(app: Flask) -> Iterator[Any]:
    """Yield the app's ``Api`` objects, the last one first: each has put a partial of ``error_router`` in place."""
    layer: Any = app.handle_user_exception
    while layer is not None:
        if isinstance(layer, functools.partial):
            api = getattr(layer.func, "__self__", None)
            if hasattr(api, "error_handlers") and hasattr(api, "owns_endpoint"):
                yield api
            layer = layer.args[0] if layer.args else None
        else:
            layer = getattr(layer, "__wrapped__", None)  # Valetkey's function around it


def _respond(api: Any, handler: Callable[[Exception], Any], error: Exception) -> Response:
    """Return the response that a handler chooses: data in a representation of the API, or a response.

    The status is not read, because that of a refused call cannot be changed.
    """
    result = handler(error)
    data, headers = (result[0], result[2] if len(result) > 2 else None) if isinstance(result, tuple) else (result, None)
    response: Response = data if isinstance(data, Response) else api.make_response(data, 200, headers)
    return response
