"""Let callers limit a JSON response to the members that they need, with ``?fields=id,author.name``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from flask import current_app, request

from valetkey.web.async_views import ensure_sync
from valetkey.web.decorator_calls import requires_parentheses
from valetkey.web.problem_responses import Problem

from .context import View

FIELDS_ATTRIBUTE = "__valetkey_fields__"  # the attribute of a view that holds the names that ?fields= accepts
FieldTree = dict[str, Any]  # by the name of a member: the FieldTree of its members, or None for all of it


@requires_parentheses('"id", "author.name"')
def sparse_fields(*fields: str, within: str | None = None) -> Any:
    """Decorate a view so that ``?fields=id,author.name`` limits its JSON response to these members.

    The response is an object or a list of objects. It is not changed if the request has no ``?fields=``, or if its
    status is not 2xx. An unknown field gets 400; the problem details list the valid fields as ``known_fields``.

    :param fields: the names that callers may request, such as ``id`` or ``author.name``. Requesting ``author`` returns
        the whole object.
    :param within: the member that holds the objects, if the response wraps them, as in ``{"items": [...]}``.
    :raises TypeError: if it is written without parentheses.
    :raises ValueError: if there are no names, a name has a comma or a space in it, or is a list.
    """
    if not fields or not all(isinstance(name, str) and name and not {*", "} & {*name} for name in fields):
        raise ValueError('pass each field as a string of its own, like sparse_fields("id", "author.name")')

    def decorate(view: View) -> View:
        call = ensure_sync(view)

        @functools.wraps(view)
        def filtered_view(*args: Any, **kwargs: Any) -> Any:
            requested = request.args.getlist("fields")
            if not requested:
                return call(*args, **kwargs)
            tree = parse_fields(",".join(requested), fields)
            return _filter_response(current_app.make_response(call(*args, **kwargs)), tree, within)

        setattr(filtered_view, FIELDS_ATTRIBUTE, fields)
        return filtered_view

    return decorate


def parse_fields(text: str, valid_fields: tuple[str, ...]) -> FieldTree:
    """Parse the value of ``?fields=`` into a tree of the requested members.

    The tree is a dict by member name; a value is the tree of that member's members, or None to include all of them.

    :raises Problem: 400 if a name is neither a valid field nor the start of a valid field, as ``author`` is of
        ``author.name``.
    """
    names = [name.strip() for name in text.split(",")]
    unknown = [
        name for name in names if not any(field == name or field.startswith(f"{name}.") for field in valid_fields)
    ]
    if unknown:
        raise Problem(
            400,
            f"there is no field {unknown[0]!r}; the fields are {', '.join(valid_fields)}",
            known_fields=list(valid_fields),
        )
    tree: FieldTree = {}
    for name in sorted(names, key=len):  # author before author.name: the whole includes the part
        _add_path(tree, name.split("."))
    return tree


def select_fields(value: Any, tree: FieldTree | None) -> Any:
    """Return a JSON object, or list of objects, with only the members in the tree; all members if the tree is None."""
    if tree is None:
        return value
    if isinstance(value, list):
        return [select_fields(item, tree) for item in value]
    if isinstance(value, Mapping):
        return {name: select_fields(value[name], tree[name]) for name in value if name in tree}
    return value


def _add_path(tree: FieldTree, path: list[str]) -> None:
    """Add a requested member to the tree, in place, unless the tree already includes the whole object around it.

    :param path: the names that lead to the member, such as ``["author", "name"]``.
    """
    for name in path[:-1]:
        if name in tree and tree[name] is None:
            return
        tree = tree.setdefault(name, {})
    tree[path[-1]] = None


def _filter_response(response: Any, tree: FieldTree, within: str | None) -> Any:
    """Return a 2xx JSON response limited to the members in the tree; other responses are returned unchanged.

    :param within: the member of the response that holds the objects; None if the response is not wrapped.
    """
    if not 200 <= response.status_code < 300 or not response.is_json or response.is_streamed:
        return response
    body = response.get_json()
    if within is None:
        body = select_fields(body, tree)
    elif isinstance(body, dict) and within in body:
        body[within] = select_fields(body[within], tree)
    response.set_data(current_app.json.dumps(body) + "\n")
    return response
