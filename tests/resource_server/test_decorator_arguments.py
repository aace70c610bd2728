"""Arguments of ``require_oauth``, ``public`` and ``protect`` that are refused when they are called."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Blueprint

from valetkey import protect, public, require_oauth
from valetkey.protocol.errors import OAuthError
from valetkey.resource_server.guard.route_protection import find_blueprint_protection


def view() -> str:
    return "x"


@pytest.mark.parametrize(
    "arguments",
    [
        {"scope": ""},
        {"scope": []},
        {"scope": ["", "a"]},
        {"scope": 'a"b'},
        {"scope": 5},
        {"scope": b"x"},
        {"scope": [["a"]]},
        {"scope": ["a", None]},
        {"scope": "a", "optional": "false"},
        {"scope": "a", "optional": None},
        {"scope": "a", "optional": 1},
        {"scope": "a", "limit": "often"},
        {"scope": "a", "limit": ""},
        {"scope": "a", "limit": {}},
        {"scope": "a", "limit": 100},
        {"scope": "a", "cost": 0},
        {"scope": "a", "cost": "2"},
        {"scope": "a", "cost": 1.5},
        {"scope": "a", "cost": True},
        {"scope": "a", "limit": ["1/minute"]},
        {"scope": "a", "limit": b"1/minute"},
        {"scope": "a", "acr": ["phr"]},
        {"scope": "a", "acr": ""},
        {"scope": "a", "max_age": -1},
        {"scope": "a", "max_age": "300"},
        {"scope": "a", "max_age": True},
        {"scope": "a", "resource": "notes"},
        {"scope": "a", "resource": 5},
        {"scope": "a", "resource": ["https://api.example.com"]},
    ],
)
def test_invalid_arguments_raise_when_the_view_is_decorated(arguments: dict[str, Any]) -> None:
    name = [*arguments][-1]
    for decorate in (require_oauth, functools.partial(protect, Blueprint("notes", __name__))):
        with pytest.raises((ValueError, OAuthError), match=name):
            decorate(**arguments)


@pytest.mark.parametrize("arguments", [{"limit": 5}, {"limit": {"free": "1/minute"}}, {"cost": True}])
def test_invalid_arguments_of_public_raise(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"limit|cost"):
        public(**arguments)


def test_a_blueprint_cannot_be_protected_by_a_function() -> None:
    with pytest.raises(ValueError, match="scope must be a string such as 'notes:read', or a list of such strings, not"):
        protect(Blueprint("notes", __name__), view)  # type: ignore[arg-type]  # meant as a decorator


@pytest.mark.parametrize(
    ("function", "options", "sentence"),
    [
        (require_oauth, {"scopes": ["a"]}, "require_oauth() has no argument scopes: did you mean scope?"),
        (require_oauth, {"rate": "1/minute"}, "require_oauth() has no argument rate: it has scope, optional, limit"),
        (require_oauth, {"bucket": "a"}, "require_oauth() has no argument bucket"),
        (require_oauth, {"is_public": True}, "require_oauth() has no argument is_public"),
        (public, {"limits": "1/minute"}, "public() has no argument limits: did you mean limit?"),
        (public, {"scope": "a"}, "public() has no argument scope: it has limit, cost"),
        (protect, {"limits": "1/minute"}, "protect() has no argument limits: did you mean limit?"),
    ],
)
def test_an_unknown_argument_is_named_with_the_closest_one(
    function: Any, options: dict[str, Any], sentence: str
) -> None:
    arguments = [Blueprint("notes", __name__)] if function is protect else []
    with pytest.raises(TypeError) as refused:
        function(*arguments, **options)

    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("function", [require_oauth, functools.partial(protect, Blueprint("notes", __name__))])
def test_several_scopes_are_a_list_or_a_string_with_spaces(function: Any) -> None:
    sentence = "pass a list if any one of several scopes is enough, or one string with spaces if all of them"
    with pytest.raises(TypeError, match=sentence):
        function("notes:read", "notes:write")


@pytest.mark.parametrize("decorator", [require_oauth, public])
def test_options_in_the_call_with_the_view_are_refused(decorator: Any) -> None:
    """They would have no effect."""
    with pytest.raises(TypeError, match=rf"pass the view in a call of its own: {decorator.__name__}\(...\)\(view\)"):
        decorator(view, limit="1/minute")


@pytest.mark.parametrize("limit", ["60/minute", 60, {}])
def test_the_limit_of_a_public_view_must_be_passed_by_name(limit: Any) -> None:
    with pytest.raises(ValueError, match="by name: public"):
        public(limit)


@pytest.mark.parametrize("scopes", [(), [], set(), frozenset(), {}.keys()])
def test_an_empty_collection_of_scopes_is_rejected(scopes: object) -> None:
    with pytest.raises(ValueError, match="at least one scope"):
        require_oauth(scopes)  # type: ignore[call-overload]  # a type that the signature rejects


def test_scopes_from_a_generator_are_all_read() -> None:
    guarded = require_oauth(name for name in ("a", "b"))(lambda: "x")  # type: ignore[call-overload]  # a generator
    assert guarded.__valetkey_protection__.scope_alternatives == (frozenset({"a"}), frozenset({"b"}))
    notes = Blueprint("notes", __name__)
    protect(notes, (name for name in ("a", "b")))  # type: ignore[arg-type]  # a generator
    protection = find_blueprint_protection(SimpleNamespace(blueprints={"notes": notes}), "notes.list", view)
    assert protection is not None
    assert protection.scope_alternatives == (frozenset({"a"}), frozenset({"b"}))


def test_a_cost_above_the_burst_is_rejected_by_the_decorator() -> None:
    with pytest.raises(ValueError, match="burst 5"):
        require_oauth("a", limit="10/minute", cost=5)
