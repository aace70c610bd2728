"""The decorator ``describe``, which declares the types of a view's request and response for the OpenAPI document."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import operator
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType, UnionType
from typing import Any, TypeVar, cast

from valetkey.resource_server.routes import Route
from valetkey.web.class_views import check_is_no_class_based_view
from valetkey.web.decorator_calls import requires_parentheses

View = TypeVar("View", bound=Callable[..., Any])
DESCRIPTION_ATTRIBUTE = "__valetkey_description__"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 §9.2.1


@dataclass(frozen=True, slots=True)
class ViewDescription:
    """The request and response types of one view, as passed to the decorator ``describe``.

    A type is any that pydantic can make a JSON Schema of; None if it is not declared. No value has been checked.
    """

    body: Any = None
    query: Any = None
    headers: Any = None
    response: Any = None
    status: Any = None
    errors: Any = None


@requires_parentheses("response=Note")
def describe(
    *,
    body: Any = None,
    query: Any = None,
    headers: Any = None,
    response: Any = None,
    status: int | str | None = None,
    errors: Mapping[int, str] | Mapping[str, str] | None = None,
) -> Callable[[View], View]:
    """Declare the request and response types of a view, for the OpenAPI document and the API reference.

    Write it below ``@app.get`` and other route decorators. The decorator documents; it does not validate requests or
    responses. Summary and description of the operation come from the view's docstring. Without ``response=``, the
    response type is the view's return annotation. A class-based view can be described at its methods, at
    ``dispatch_request`` and as a whole (``decorators``): the innermost description counts.

    A type is a pydantic model, a dataclass, a ``TypedDict``, or a list or dict of these. If one description is for
    several methods, ``body`` and ``status`` are those of POST, PUT, PATCH and DELETE.

    :param body: type of the JSON request body. GET and HEAD requests have none (RFC 9110 §9.3.1).
    :param query: type whose members are the query parameters.
    :param headers: type whose members are the request headers that the view reads, for example a ``TypedDict`` with
        the member ``If-Match``.
    :param response: type of the JSON response body.
    :param status: status of the successful response, 200 to 399. Default: 200, or 204 if the view is annotated to
        return ``None`` and ``response=`` is not given.
    :param errors: error responses of the view by status, for example ``{404: "There is no such note"}``. They are
        documented as problem details (RFC 9457). A status may be text.

    The log and ``valetkey check`` name what cannot be documented; requests are not affected.

    :raises TypeError: if it is written without parentheses.
    :raises ValueError: if the view is a ``MethodView``; raised when the decorator is applied.
    """
    description = ViewDescription(body, query, headers, response, status, errors)

    def decorate(view: View) -> View:
        described = _copy_view(view)
        setattr(described, DESCRIPTION_ATTRIBUTE, description)
        if not hasattr(view, DESCRIPTION_ATTRIBUTE):  # a route decorator below ``describe`` has registered the view
            with contextlib.suppress(AttributeError, TypeError):  # methods of objects and built-in classes have none
                setattr(view, DESCRIPTION_ATTRIBUTE, description)
        return described

    return decorate


def _copy_view(view: View) -> View:
    """Return a copy of a view, so that describing the copy does not change the original.

    :raises ValueError: if the view is a ``MethodView``, which is not what Flask calls.
    """
    check_is_no_class_based_view(view)
    copied: Any
    if isinstance(view, FunctionType):  # a copy and not a wrapper, which each call would pass
        copied = FunctionType(view.__code__, view.__globals__, view.__name__, view.__defaults__, view.__closure__)
        copied.__kwdefaults__ = view.__kwdefaults__
    elif isinstance(view, functools.partial):
        return copy.copy(view)
    else:
        copied = functools.partial(view)
    return cast(View, functools.update_wrapper(copied, view))


def find_view_description(route: Route, method: str) -> ViewDescription:
    """Return what the decorator ``describe`` declared for an operation; if it did not, nothing is declared.

    :param method: the operation's HTTP method, in upper case.
    """
    found = route.get_view_attribute(DESCRIPTION_ATTRIBUTE)
    description: ViewDescription = ViewDescription() if found is None else found
    is_of_method = getattr(route.view, DESCRIPTION_ATTRIBUTE, None) is description
    described_methods = set(route.methods if is_of_method else route.rule.methods or route.methods)
    if method in _SAFE_METHODS and described_methods - _SAFE_METHODS:
        return replace(description, body=None, status=None)
    return description


def read_return_annotation(view: Callable[..., Any]) -> tuple[Any, int | None]:
    """Return the response type and the status that a view's return annotation implies.

    :returns: the type of the JSON response, None if the annotation has no JSON type; and the status, 204 if the view
        is annotated to return ``None``, else None.
    :raises ValueError: if the annotation cannot be evaluated.
    """
    view_class = getattr(view, "view_class", None)  # if it has no method of the name of the HTTP method
    function: Any = find_function(view if view_class is None else view_class.dispatch_request)
    if not inspect.isroutine(function):  # an object with the method __call__
        function = type(function).__call__
    try:
        annotation = typing.get_type_hints(function, include_extras=True).get("return", Any)
    except NameError:  # a name that is imported for type checkers only
        return None, None
    except Exception as cause:  # an annotation is any expression, and the text of one may be anything
        raise ValueError(f"its annotations cannot be evaluated ({type(cause).__name__}: {cause})") from cause
    if annotation is type(None):
        return None, 204
    if typing.get_origin(annotation) is tuple:  # (body, status) or (body, status, headers)
        annotation = next(iter(typing.get_args(annotation)), Any)
    is_union = typing.get_origin(annotation) in {typing.Union, UnionType}
    alternatives = typing.get_args(annotation) if is_union else (annotation,)
    json_types = tuple(alternative for alternative in alternatives if has_json_schema(alternative))
    return (functools.reduce(operator.or_, json_types) if json_types else None), None


def find_function(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that a view calls in the end: without decorators that name it, and ``functools.partial``."""
    function: Callable[..., Any] = inspect.unwrap(view.func if isinstance(view, functools.partial) else view)
    return view if function is view else find_function(function)


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
