"""``X-Content-Type-Options`` and ``Strict-Transport-Security`` on every response of Valetkey."""

from __future__ import annotations

from flask import Request

from valetkey.protocol.refusal import Header

from .wsgi import OWN_RESPONSE_KEY, Environ, Headers, ResponseHook

_HSTS = "Strict-Transport-Security"
_NOSNIFF: Header = ("X-Content-Type-Options", "nosniff")
_MAX_AGE_S = 31_536_000  # a year


def security_headers(url: str) -> tuple[Header, ...]:
    """Return the header fields for a response that nothing else has added header fields to.

    :param url: public URL of the server; ``Strict-Transport-Security`` is for https only (RFC 6797 §7.2).
    """
    return (_NOSNIFF, (_HSTS, f"max-age={_MAX_AGE_S}")) if url.startswith("https:") else (_NOSNIFF,)


def make_security_headers_hook(url: str) -> ResponseHook:
    """Return a function for ``ResponseHookMiddleware`` that adds the header fields to Valetkey's responses.

    If a hook of the app has added ``Strict-Transport-Security``, the stricter of both policies is sent.

    :param url: public URL of the server.
    """
    is_https = url.startswith("https:")

    def add(environ: Environ, status: str, headers: Headers) -> None:
        if OWN_RESPONSE_KEY not in environ and not _is_own_endpoint(environ):
            return
        policies = [value for name, value in headers if name.lower() == _HSTS.lower()]
        headers[:] = [header for header in headers if header[0].lower() not in {_HSTS.lower(), _NOSNIFF[0].lower()}]
        headers.append(_NOSNIFF)
        if is_https:
            headers.append((_HSTS, _strictest(policies)))
        elif policies:
            headers.append((_HSTS, policies[0]))

    return add


def _is_own_endpoint(environ: Environ) -> bool:
    """Return whether Flask has matched the request to an endpoint of Valetkey."""
    request = environ.get("werkzeug.request")
    return isinstance(request, Request) and (request.endpoint or "").startswith("valetkey_")


def _strictest(policies: list[str]) -> str:
    """Return the HSTS policy (RFC 6797 §6.1) with the longest ``max-age``, and all directives, of these and ours."""
    max_age_s, others = _MAX_AGE_S, []
    for directive in (part.strip() for policy in policies for part in policy.split(";")):
        name, _, value = directive.partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() != "max-age":
            others.append(directive)
        elif value.isdecimal():
            max_age_s = max(max_age_s, int(value))
    return "; ".join(dict.fromkeys((f"max-age={max_age_s}", *filter(None, others))))
