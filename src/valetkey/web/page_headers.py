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
_ENDPOINT_HEADERS_KEY = "valetkey.endpoint_headers"  # in the WSGI environment: header fields of a machine endpoint


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


def enforce_endpoint_headers(environ: Environ, headers: Headers) -> None:
    """Make sure that the response of a machine endpoint has the header fields that the endpoint returned."""
    environ[_ENDPOINT_HEADERS_KEY] = [item for item in headers if item[0].lower() in _ENFORCED_ENDPOINT_NAMES]


def enforce_headers(environ: Environ, status: str, headers: Headers) -> None:
    """Set header fields of Valetkey's pages and endpoints: a function for ``ResponseHookMiddleware``.

    It replaces fields of the same names, which come from the host app.
    """
    own_headers: dict[str, str] | None = environ.get(PAGE_HEADERS_KEY)
    if own_headers is not None:
        environ[OWN_RESPONSE_KEY] = True
        _replace(headers, _ENFORCED_PAGE_NAMES, {**_PAGE_HEADERS, **own_headers}.items())
    elif (endpoint_headers := environ.get(_ENDPOINT_HEADERS_KEY)) is not None:
        environ[OWN_RESPONSE_KEY] = True
        _replace(headers, {name.lower() for name, _ in endpoint_headers}, endpoint_headers)


def _replace(headers: Headers, names: Collection[str], fields: Iterable[tuple[str, str]]) -> None:
    enforced = list(fields)
    if [item for item in headers if item[0].lower() in names] != enforced:
        headers[:] = [*(item for item in headers if item[0].lower() not in names), *enforced]
