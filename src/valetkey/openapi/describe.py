"""What a publisher says of a view that annotations cannot: its body, its query, its answers."""

from __future__ import annotations

import functools
import inspect
import operator
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])
DESCRIPTION_ATTRIBUTE = "__valetkey_description__"


@dataclass(frozen=True, slots=True)
class ViewDescription:
    """What was said of a view; types as pydantic understands them."""

    body: Any = None
    query: Any = None
    headers: Any = None
    response: Any = None
    status: int | None = None
    errors: Mapping[int, str] = field(default_factory=dict)


def describe(
    *,
    body: Any = None,
    query: Any = None,
    headers: Any = None,
    response: Any = None,
    status: int | None = None,
    errors: Mapping[int, str] | None = None,
) -> Callable[[View], View]:
    """Say what a view takes and gives, for the API reference. It checks nothing when a call comes.

    A type is a pydantic model, a dataclass, a ``TypedDict``, or a list or dict of such. The words about an
    operation come from the view's docstring, and without ``response`` the answer comes from its return annotation.

    :param body: the type of the JSON body.
    :param query: the type whose members are the query's parameters.
    :param headers: the type whose members are header fields that the view reads, such as a ``TypedDict`` with the
        member ``If-Match``.
    :param response: the type of the JSON answer.
    :param status: the answer's status; 200 where there is an answer, 204 where the view returns None.
    :param errors: what the view refuses, as ``{404: "There is no such note"}``; told as problem details.
    """
    said = ViewDescription(body, query, headers, response, status, dict(errors or {}))

    def remember(view: View) -> View:
        setattr(view, DESCRIPTION_ATTRIBUTE, said)
        return view

    return remember


def get_view_description(view: Callable[..., Any]) -> ViewDescription:
    """What was said of the view; its return annotation counts where no answer was described."""
    said: ViewDescription = getattr(view, DESCRIPTION_ATTRIBUTE, None) or ViewDescription()
    if said.response is not None:
        return said
    returned, status = _return_annotation(view)
    return replace(said, response=returned, status=said.status or status)


def _return_annotation(view: Callable[..., Any]) -> tuple[Any, int | None]:
    """The type of the JSON that the view returns, and the status where there is no body."""
    function = inspect.unwrap(view)
    try:
        found = typing.get_type_hints(function, include_extras=True).get("return", Any)
    except (NameError, TypeError, AttributeError):  # names that only a type checker sees
        return None, None
    if found is type(None):
        return None, 204
    if typing.get_origin(found) is tuple:  # (body, status) or (body, status, headers)
        found = typing.get_args(found)[0]
    parts = typing.get_args(found) if typing.get_origin(found) in {typing.Union, types.UnionType} else (found,)
    shaped = tuple(part for part in parts if has_json_schema(part))
    return (functools.reduce(operator.or_, shaped) if shaped else None), None


def has_json_schema(python_type: Any) -> bool:
    """Whether a type says what its JSON looks like: a model, a dataclass, a TypedDict, a list or dict."""
    origin = typing.get_origin(python_type)
    if origin is typing.Annotated:
        return has_json_schema(typing.get_args(python_type)[0])
    if not isinstance(python_type, type) and origin is None:
        return False
    made = origin or python_type
    model = getattr(sys.modules.get("pydantic"), "BaseModel", None)  # whoever has a model has imported it
    is_model = model is not None and isinstance(made, type) and issubclass(made, model)
    return (
        made in {list, dict, Sequence, Mapping}
        or is_model
        or typing.is_typeddict(made)
        or hasattr(made, "__dataclass_fields__")
    )
