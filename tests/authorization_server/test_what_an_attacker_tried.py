"""What an attacker tried and found open once; each closed, and kept so."""

from __future__ import annotations

import functools

import pytest

from valetkey import public, require_oauth
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.uri import redirect_uri_matches
from valetkey.resource_server.guard.require_oauth import _bucket_name


@pytest.mark.parametrize("port", ["8\u0661", "\uff18", "\u0968"])
def test_a_port_in_other_digits_is_no_port(port: str) -> None:
    assert not redirect_uri_matches(f"http://127.0.0.1:{port}/cb", ("http://127.0.0.1/cb",), native=True)


@pytest.mark.parametrize("nothing", [(), [], set(), frozenset(), {}.keys()])
def test_a_collection_of_no_scopes_does_not_mean_any_token(nothing: object) -> None:
    with pytest.raises(ValueError, match="at least one scope"):
        require_oauth(nothing)  # type: ignore[call-overload]


def test_scopes_that_can_be_read_only_once_are_all_kept() -> None:
    guarded = require_oauth(name for name in ("a", "b"))(lambda: "x")  # type: ignore[call-overload]
    assert guarded.__valetkey_protection__.scope_alternatives == (frozenset({"a"}), frozenset({"b"}))


def test_a_cost_that_no_burst_can_pay_is_told_where_the_decorator_stands() -> None:
    with pytest.raises(ValueError, match="burst 5"):
        require_oauth("a", limit="10/minute", cost=5)


def test_the_bucket_of_a_partial_is_the_same_in_every_process() -> None:
    assert "0x" not in _bucket_name(functools.partial(print, "x"))


def test_a_bound_method_can_be_public() -> None:
    class Answers:
        def get(self) -> str:
            return "x"

    assert callable(public(Answers().get))


def test_a_registered_redirect_uri_is_not_rewritten_on_the_way_out() -> None:
    answer = AuthorizationResponse("com.example.App:///cb", "query", {"code": "1"})
    assert answer.location() == "com.example.App:///cb?code=1"
