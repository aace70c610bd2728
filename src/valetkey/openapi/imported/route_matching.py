"""Find the Flask routes of the operations in the OpenAPI document of another extension. Does not import Flask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from valetkey.openapi.path_parameters import path_template, without_parameter_names
from valetkey.openapi.security import path_item_operations, path_items
from valetkey.openapi.servers import path_below, server_urls
from valetkey.resource_server.routes import Route

_Key = tuple[str, str]  # path and method in upper case


class RouteMatcher:
    """Finds the route of an operation by its method, and by the path of its server followed by its own path."""

    def __init__(self, routes: Iterable[Route], issuer: str) -> None:
        self._issuer = issuer
        self._by_template: dict[_Key, list[Route]] = defaultdict(list)
        self._by_shape: dict[_Key, list[Route]] = defaultdict(list)
        for route in routes:
            template = path_template(route.path)
            for method in route.methods:
                self._by_template[template, method].append(route)
                self._by_shape[without_parameter_names(template), method].append(route)

    def iter_matches(
        self, document: Mapping[str, Any], warn: Callable[[str], None]
    ) -> Iterator[tuple[dict[str, Any], str, Route]]:
        """Yield each operation object of a document that has a route, its method in upper case, and the route.

        Operations of Valetkey's own routes are left out.

        :param warn: called with a sentence for each operation that has no route, or of which several are possible.
        """
        for path, item in path_items(document).items():
            for method, operation in path_item_operations(item):
                urls = server_urls(document, item, operation, self._issuer)
                routes = self._find([path_below(url, self._issuer) for url in urls], path, method)
                if not routes:
                    warn(f"{method} {path} in the OpenAPI document has no route: its security is not documented")
                elif not any(route.is_valetkey_route for route in routes):
                    yield operation, method, _choose(routes, f"{method} {path}", warn)

    def _find(self, prefixes: list[str], path: str, method: str) -> list[Route]:
        """Return the routes that an operation can be: those with its path template, else those of the same shape.

        :param prefixes: the paths of its servers. A proxy may remove them, so that routes do not begin with them.
        """
        for prefix in dict.fromkeys([*prefixes, ""]):
            template = prefix + path
            for routes, key in ((self._by_template, template), (self._by_shape, without_parameter_names(template))):
                found = routes.get((key, method)) or (routes.get((key, "GET")) if method == "HEAD" else None)
                if found:
                    return found
        return []


def _choose(routes: list[Route], operation_name: str, warn: Callable[[str], None]) -> Route:
    """Return the route of an operation; of several, the first that needs a token: it must not be documented as public.

    :param operation_name: method and path, for the warning.
    """
    if len(routes) > 1:
        rules = ", ".join(route.path for route in routes)
        warn(f"{operation_name} in the OpenAPI document can be any of the routes {rules}: name its parameters like one")
    needing_token = [route for route in routes if route.protection is None or not route.protection.is_public]
    return (needing_token or routes)[0]
