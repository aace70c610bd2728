"""The way back to the client: a redirect, or a form that the browser posts."""

from __future__ import annotations

from flask import Response

from valetkey.protocol.authorization_response import AuthorizationResponse

from . import pages

# With a script, which presses the button. A form-action would also be applied to the client's redirects.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def respond(response: AuthorizationResponse) -> Response:
    """Send the browser to the client; 303, so that no form is posted a second time (RFC 9700 §4.12)."""
    if response.mode != "form_post":
        return Response(status=303, headers=[("Location", response.location())])
    page = pages.page("form_post.html", redirect_uri=response.redirect_uri, parameters=response.parameters)
    page.headers["Content-Security-Policy"] = _POLICY
    return page
