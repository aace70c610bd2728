"""Parameters (RFC 6749 §3.1, §3.2) and scope (§3.3)."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.protocol.errors import InvalidRequest, InvalidScope
from valetkey.protocol.parameters import parse_parameters
from valetkey.protocol.scope import format_scope, parse_scope

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=10)


@given(st.dictionaries(names, names, max_size=20))
def test_what_was_encoded_is_read(sent: dict[str, str]) -> None:
    sent.pop("resource", None)

    assert dict(parse_parameters(urlencode(sent)).values) == sent


@given(st.text(max_size=200))
def test_text_of_any_kind_is_read_or_refused(text: str) -> None:
    try:
        read = parse_parameters(text)
    except InvalidRequest as refusal:
        assert all(" " <= c <= "~" and c not in '"\\' for c in refusal.description)
    else:
        assert "" not in read.values.values()
        assert not any("\0" in value for value in read.values.values())


@pytest.mark.parametrize("text", ["a=1&a=2", "a=1&a=", "a=&a=", "%61=1&a=2", "a=1&b=2&a=1"])
def test_a_parameter_sent_twice_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="more than once: a"):
        parse_parameters(text)


def test_the_name_in_the_refusal_is_printable_and_short() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_parameters(2 * f"&{'%22%5C%0D%0Aü' * 50}=1")

    assert len(refused.value.description) < 100
    assert all(" " <= c <= "~" and c not in '"\\' for c in refused.value.description)


def test_resource_may_repeat_and_keeps_its_order() -> None:
    read = parse_parameters("resource=https://b&resource=&resource=https://a&x=1")

    assert read.getlist("resource") == ("https://b", "https://a")
    assert read.get("resource") is None
    assert read.getlist("x") == ()


def test_an_empty_parameter_counts_as_left_out() -> None:
    read = parse_parameters("a=&b=1")

    assert read.get("a") is None
    with pytest.raises(InvalidRequest, match="missing parameter: a"):
        read.require("a")
    assert read.require("b") == "1"


@pytest.mark.parametrize("text", ["a=%00", "a=b\0", "%00=1", "a=%ff", "a=%c3%28", "&".join(["a=1"] * 61)])
def test_what_is_no_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_parameters(text)


def test_a_percent_sign_that_is_encoded_is_no_nul() -> None:
    assert parse_parameters("a=%2500").get("a") == "%00"


@pytest.mark.parametrize("text", [" a", "a ", "a  b", 'a"b', "a\\b", "a\tb", "ä", "a\n", "\x7f", "a" * 2001])
def test_a_scope_that_is_no_list_of_names_is_refused(text: str) -> None:
    with pytest.raises(InvalidScope):
        parse_scope(text)


@given(st.frozensets(st.text([chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"\\'], min_size=1, max_size=9)))
def test_scopes_are_written_and_read(scope: frozenset[str]) -> None:
    assert parse_scope(format_scope(scope)) == scope


def test_order_and_repetition_do_not_matter() -> None:
    assert parse_scope("b a b") == parse_scope("a b")
    assert parse_scope(None) == parse_scope("") == frozenset()
