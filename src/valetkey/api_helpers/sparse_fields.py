"""Sparse fields: ``?fields=id,author.name`` answers only these members."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from flask import current_app, request

from valetkey.web.problem_responses import Problem

from .context import View, ensure_sync

FIELDS_ATTRIBUTE = "__valetkey_fields__"  # the attribute of a view that holds the names that may be asked for
FieldTree = dict[str, Any]  # the name of a member: its tree, or None for all of it


def sparse_fields(*known: str, within: str | None = None) -> Any:
    """Let callers choose among the members of a view's JSON answer by ``?fields=``; without it all are answered.

    :param known: the members that there are, as ``id`` or ``author.name``.
    :param within: the member that holds the objects, where the answer is an envelope like ``{"items": [...]}``.
    :raises Problem: 400 on an unknown field; it names the known ones.
    """
    if not known or any("," in name or " " in name for name in known):
        raise ValueError('name each field that may be asked for, like sparse_fields("id", "author.name")')

    def decorate(view: View) -> View:
        call = ensure_sync(view)

        @functools.wraps(view)
        def chosen(*args: Any, **kwargs: Any) -> Any:
            asked = request.args.getlist("fields")
            if not asked:
                return call(*args, **kwargs)
            tree = parse_fields(",".join(asked), known)
            return _filter_response(current_app.make_response(call(*args, **kwargs)), tree, within)

        setattr(chosen, FIELDS_ATTRIBUTE, known)
        return chosen

    return decorate


def parse_fields(text: str, valid_fields: tuple[str, ...]) -> FieldTree:
    """The members that a query asks for.

    :raises Problem: 400 on one that is not known.
    """
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if not any(one == name or one.startswith(f"{name}.") for one in valid_fields)]
    if unknown:
        raise Problem(
            400,
            f"there is no field {unknown[0]!r}; there are {', '.join(valid_fields)}",
            known_fields=list(valid_fields),
        )
    tree: FieldTree = {}
    for name in sorted(names, key=len):  # author before author.name: the whole includes the part
        _add_path(tree, name.split("."))
    return tree


def select_fields(value: Any, tree: FieldTree | None) -> Any:
    """The chosen members of an object, or of each object in a list."""
    if tree is None:
        return value
    if isinstance(value, list):
        return [select_fields(one, tree) for one in value]
    if isinstance(value, Mapping):
        return {name: select_fields(value[name], tree[name]) for name in value if name in tree}
    return value


def _add_path(tree: FieldTree, path: list[str]) -> None:
    for name in path[:-1]:
        if name in tree and tree[name] is None:
            return
        tree = tree.setdefault(name, {})
    tree[path[-1]] = None


def _filter_response(response: Any, tree: FieldTree, within: str | None) -> Any:
    if not 200 <= response.status_code < 300 or not response.is_json or response.is_streamed:
        return response
    whole = response.get_json()
    if within is None:
        whole = select_fields(whole, tree)
    elif isinstance(whole, dict) and within in whole:
        whole[within] = select_fields(whole[within], tree)
    response.set_data(current_app.json.dumps(whole) + "\n")
    return response
