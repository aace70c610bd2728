"""The scopes that a user has unticked on a consent page.

They are those of the submitted form or, if the user had to sign in after submitting it, those in the query string.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from urllib.parse import urlencode

from flask import request

_UNTICKED = "unticked"  # in the query of a page: scopes that the user unticked before having to sign in, with spaces


def unticked_scope(offered: Iterable[str]) -> list[str]:
    """Return what the user unticked: in the submitted form, or else before a sign-in, as ``with_unticked`` keeps it.

    :param offered: the scopes that the form has checkboxes for.
    """
    if request.method == "POST":
        return sorted(set(offered).difference(request.form.getlist("scope")))
    return unticked_before_sign_in()


def unticked_before_sign_in() -> list[str]:
    """Return the scopes that the query of the current request says the user unticked."""
    return request.args.get(_UNTICKED, "").split()


def with_unticked(path: str, unticked: Collection[str], query: Mapping[str, str]) -> str:
    """Return a path with a query, which also says what the user unticked, so that it stays so after the sign-in."""
    parameters = {**query, **({_UNTICKED: " ".join(unticked)} if unticked else {})}
    return f"{path}?{urlencode(parameters, safe=':')}" if parameters else path
