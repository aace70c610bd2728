"""Jinja environment of Valetkey's pages. It is not the host app's, whose settings would change the pages.

A host may have other delimiters, filters or context processors, or no autoescaping.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import url_for
from jinja2 import Environment, FileSystemLoader

_PACKAGE = Path(__file__).parent.parent
_environment = Environment(
    loader=FileSystemLoader(sorted(_PACKAGE.glob("*/templates"))), autoescape=True, auto_reload=False
)
_environment.globals["url_for"] = url_for


def render_template(template: str, **context: Any) -> str:
    """Return the text of one of Valetkey's pages. Needs a request context. All variables are escaped.

    :param template: file name below ``templates/valetkey/``.
    :param context: variables of the template.
    """
    return _environment.get_template(f"valetkey/{template}").render(context)
