"""The decorator ``describe``, which declares the types of a view's request and response for the OpenAPI document."""

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
    """The request and response types of one view, as passed to the decorator ``describe``.

    A type is any that pydantic can make a JSON Schema of; None if it is not declared.
    """

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
    """Declare the request and response types of a view, for the OpenAPI document and the API reference.

    The decorator documents; it does not validate requests or responses. Summary and description of the operation come
    from the view's docstring. Without ``response=``, the response type is the view's return annotation.

    A type is a pydantic model, a dataclass, a ``TypedDict``, or a list or dict of these.

    :param body: type of the JSON request body.
    :param query: type whose members are the query parameters.
    :param headers: type whose members are the request headers that the view reads, for example a ``TypedDict`` with
        the member ``If-Match``.
    :param response: type of the JSON response body.
    :param status: status of the successful response. Default: 200, or 204 if the view is annotated to return ``None``
        and ``response=`` is not given.
    :param errors: error responses of the view by status, for example ``{404: "There is no such note"}``. They are
        documented as problem details (RFC 9457).
    """
    description = ViewDescription(body, query, headers, response, status, dict(errors or {}))

    def decorate(view: View) -> View:
        setattr(view, DESCRIPTION_ATTRIBUTE, description)
        return view

    return decorate


def get_view_description(view: Callable[..., Any]) -> ViewDescription:
    """Return what the decorator ``describe`` declared for a view.

    If it declared no response type, the response type and the status are taken from the view's return annotation.
    """
    description: ViewDescription = getattr(view, DESCRIPTION_ATTRIBUTE, None) or ViewDescription()
    if description.response is not None:
        return description
    response, status = _return_annotation(view)
    return replace(description, response=response, status=description.status or status)


def _return_annotation(view: Callable[..., Any]) -> tuple[Any, int | None]:
    """Return the response type and the status that a view's return annotation implies.

    :returns: the type of the JSON response, None if the annotation has no JSON type; and the status, 204 if the view
        is annotated to return ``None``, else None.
    """
    function = inspect.unwrap(view)
    try:
        annotation = typing.get_type_hints(function, include_extras=True).get("return", Any)
    except (NameError, TypeError, AttributeError):  # names that are imported for type checkers only
        return None, None
    if annotation is type(None):
        return None, 204
    if typing.get_origin(annotation) is tuple:  # (body, status) or (body, status, headers)
        annotation = typing.get_args(annotation)[0]
    is_union = typing.get_origin(annotation) in {typing.Union, types.UnionType}
    alternatives = typing.get_args(annotation) if is_union else (annotation,)
    json_types = tuple(alternative for alternative in alternatives if has_json_schema(alternative))
    return (functools.reduce(operator.or_, json_types) if json_types else None), None


def has_json_schema(python_type: Any) -> bool:
    """Return whether a JSON Schema can be made of a type: a pydantic model, dataclass, TypedDict, list or dict."""
    origin = typing.get_origin(python_type)
    if origin is typing.Annotated:
        return has_json_schema(typing.get_args(python_type)[0])
    if not isinstance(python_type, type) and origin is None:
        return False
    base = origin or python_type
    model = getattr(sys.modules.get("pydantic"), "BaseModel", None)  # code that defines a model has imported pydantic
    is_model = model is not None and isinstance(base, type) and issubclass(base, model)
    return (
        base in {list, dict, Sequence, Mapping}
        or is_model
        or typing.is_typeddict(base)
        or hasattr(base, "__dataclass_fields__")
    )
