"""Attacks that succeeded once: each test keeps one of them from succeeding again."""

from __future__ import annotations

import functools

import pytest

from valetkey import public, require_oauth
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.redirect_uri import redirect_uri_matches
from valetkey.resource_server.guard.require_oauth import bucket_name


@pytest.mark.parametrize("port", ["8\u0661", "\uff18", "\u0968"])
def test_a_port_in_non_ascii_digits_is_rejected(port: str) -> None:
    assert not redirect_uri_matches(f"http://127.0.0.1:{port}/cb", ("http://127.0.0.1/cb",), native=True)


@pytest.mark.parametrize("scopes", [(), [], set(), frozenset(), {}.keys()])
def test_an_empty_collection_of_scopes_is_rejected(scopes: object) -> None:
    with pytest.raises(ValueError, match="at least one scope"):
        require_oauth(scopes)  # type: ignore[call-overload]  # a type that the signature rejects


def test_scopes_from_a_generator_are_all_read() -> None:
    view = require_oauth(name for name in ("a", "b"))(lambda: "x")  # type: ignore[call-overload]  # a generator
    assert view.__valetkey_protection__.scope_alternatives == (frozenset({"a"}), frozenset({"b"}))


def test_a_cost_above_the_burst_is_rejected_by_the_decorator() -> None:
    with pytest.raises(ValueError, match="burst 5"):
        require_oauth("a", limit="10/minute", cost=5)


def test_thebucket_name_of_a_partial_is_the_same_in_every_process() -> None:
    assert "0x" not in bucket_name(functools.partial(print, "x"))


def test_a_bound_method_can_be_public() -> None:
    class Notes:
        def get(self) -> str:
            return "x"

    assert callable(public(Notes().get))


def test_a_registered_redirect_uri_is_not_rewritten_in_the_response() -> None:
    response = AuthorizationResponse("com.example.App:///cb", "query", {"code": "1"})
    assert response.location() == "com.example.App:///cb?code=1"
