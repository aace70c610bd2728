"""Header fields of Valetkey's pages and endpoints, which hooks and extensions of the host app cannot change."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from flask import Response, request
from werkzeug.wrappers import Response as AnyResponse

from .wsgi import OWN_RESPONSE_KEY, Environ, Headers

# No scripts, nothing from other origins, no framing (RFC 9700 §4.16). form-action is omitted on purpose: browsers
# also apply it to the redirect after a form, which leads to the client.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # RFC 9700 §4.2.4
    "Cache-Control": "no-store",
}
# Not on pages of the authorization flow: an app that opened them in a popup would lose its ``window.opener``.
_ISOLATION_NAME, _ISOLATION_VALUE = "Cross-Origin-Opener-Policy", "same-origin"
_ENFORCED_PAGE_HEADERS = (*_PAGE_HEADERS, _ISOLATION_NAME)
_ENFORCED_PAGE_NAMES = frozenset(name.lower() for name in _ENFORCED_PAGE_HEADERS)
_ENFORCED_ENDPOINT_NAMES = frozenset({"cache-control", "pragma", "content-type", "www-authenticate", "retry-after"})
# In the WSGI environment: the header fields that this page has instead of those of other pages, by name.
PAGE_HEADERS_KEY = "valetkey.page_headers"
_NOT_CACHED = (("Cache-Control", "no-store"),)
_ENDPOINT_HEADERS_KEY = "valetkey.endpoint_headers"  # in the WSGI environment: status and fields of a machine endpoint


def mark_as_page(response: AnyResponse) -> None:
    """Give the response to the current request the header fields of a page, except for those that it has itself.

    Call it before the hooks of the host app.
    """
    own_headers = request.environ.setdefault(PAGE_HEADERS_KEY, {})
    own_headers |= {name: response.headers[name] for name in _ENFORCED_PAGE_HEADERS if name in response.headers}


def isolate_page(response: Response) -> Response:
    """Forbid the site that opened a page in a popup to keep a reference to its window, and return the page.

    Call it for pages with data of the account, which are not part of the authorization flow.
    """
    request.environ.setdefault(PAGE_HEADERS_KEY, {})[_ISOLATION_NAME] = _ISOLATION_VALUE
    return response


def enforce_endpoint_headers(response: Response) -> None:
    """Make sure that the response of a machine endpoint to the current request keeps the header fields that it has."""
    fields = [field for field in response.headers if field[0].lower() in _ENFORCED_ENDPOINT_NAMES]
    request.environ[_ENDPOINT_HEADERS_KEY] = response.status_code, fields


def enforce_headers(environ: Environ, status: str, headers: Headers) -> None:
    """Set header fields of Valetkey's pages and endpoints: a function for ``ResponseHookMiddleware``.

    It replaces fields of the same names, which come from the host app. If the status is another than that of the
    endpoint, for example because a hook of the host app has raised an exception, the response is not cached.
    """
    own_headers: dict[str, str] | None = environ.get(PAGE_HEADERS_KEY)
    if own_headers is not None:
        environ[OWN_RESPONSE_KEY] = True
        # No script of another site may read a page, also if the host app allows it for its routes (RFC 9700 §2.6).
        headers[:] = [field for field in headers if not field[0].lower().startswith("access-control-")]
        _replace(headers, _ENFORCED_PAGE_NAMES, {**_PAGE_HEADERS, **own_headers}.items())
    elif _ENDPOINT_HEADERS_KEY in environ:
        environ[OWN_RESPONSE_KEY] = True
        endpoint_status, endpoint_headers = environ[_ENDPOINT_HEADERS_KEY]
        fields = endpoint_headers if status.startswith(f"{endpoint_status} ") else _NOT_CACHED
        _replace(headers, {name.lower() for name, _ in fields}, fields)


def _replace(headers: Headers, names: Collection[str], fields: Iterable[tuple[str, str]]) -> None:
    enforced = list(fields)
    if [item for item in headers if item[0].lower() in names] != enforced:
        headers[:] = [*(item for item in headers if item[0].lower() not in names), *enforced]
