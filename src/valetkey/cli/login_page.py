"""The page that the browser shows when ``valetkey login`` has received the authorization response."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files

from jinja2 import Environment

_CLOSE_PAGE_TEXT = "You can close this page and go back to the terminal."


def render_login_page(authorization_response: Mapping[str, str]) -> tuple[dict[str, str], bytes]:
    """Return headers and body of the page that says whether ``valetkey login`` succeeded.

    The page's stylesheet is inline, because the server stops after this response. The Content-Security-Policy allows
    the stylesheet by its hash.

    :param authorization_response: the parameters of the response; with ``code`` if the sign-in succeeded.
    """
    style = files("valetkey").joinpath("web/static/valetkey.css").read_text()
    template = files("valetkey").joinpath("cli/templates/login_ended.html").read_text()
    title = "Signed in" if "code" in authorization_response else "Not signed in"
    page = Environment(autoescape=True).from_string(template)
    text = page.render(title=title, sentence=_CLOSE_PAGE_TEXT, style=style)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return headers, text.encode()
