"""Parameters (RFC 6749 §3.1, §3.2) and scope (§3.3)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.protocol.errors import InvalidRequest, InvalidScope
from valetkey.protocol.parameters import decode_pairs, parse_parameters
from valetkey.protocol.scope import format_scope, parse_scope

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=10)


@given(st.dictionaries(names, names, max_size=20))
def test_encoded_parameters_are_parsed(parameters: dict[str, str]) -> None:
    parameters.pop("resource", None)

    assert dict(parse_parameters(urlencode(parameters)).values) == parameters


@given(st.text(max_size=200))
def test_any_query_string_is_parsed_or_refused(text: str) -> None:
    try:
        parameters = parse_parameters(text)
    except InvalidRequest as error:
        assert all(" " <= c <= "~" and c not in '"\\' for c in error.description)
    else:
        assert "" not in parameters.values.values()
        assert not any("\0" in value for value in parameters.values.values())


@given(st.text(st.sampled_from("ab=&+%;é\n 2fC3A9"), max_size=30))
def test_pairs_are_decoded_as_by_the_standard_library(text: str) -> None:
    try:
        expected: object = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        expected = InvalidRequest
    try:
        decoded: object = decode_pairs(text)
    except InvalidRequest:
        decoded = InvalidRequest

    assert decoded == expected


@pytest.mark.parametrize("text", ["a=1&a=2", "a=1&a=", "a=&a=", "%61=1&a=2", "a=1&b=2&a=1"])
def test_a_parameter_sent_twice_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="more than once: a"):
        parse_parameters(text)


def test_the_parameter_name_in_an_error_is_printable_and_short() -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_parameters(2 * f"&{'%22%5C%0D%0Aü' * 50}=1")

    assert len(raised.value.description) < 100
    assert all(" " <= c <= "~" and c not in '"\\' for c in raised.value.description)


def test_resource_can_be_repeated_and_its_order_is_preserved() -> None:
    parameters = parse_parameters("resource=https://b&resource=&resource=https://a&x=1")

    assert parameters.getlist("resource") == ("https://b", "https://a")
    assert parameters.get("resource") is None
    assert parameters.getlist("x") == ()


def test_an_empty_parameter_counts_as_omitted() -> None:
    parameters = parse_parameters("a=&b=1")

    assert parameters.get("a") is None
    with pytest.raises(InvalidRequest, match="missing parameter: a"):
        parameters.require("a")
    assert parameters.require("b") == "1"


@pytest.mark.parametrize(
    "text",
    ["a=%00", "a=b\0", "%00=1", "a=%ff", "a=%c3%28", "&".join(["a=1"] * 61)],
    ids=["encoded NUL", "NUL", "NUL in a name", "invalid byte", "invalid UTF-8 sequence", "too many fields"],
)
def test_an_invalid_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_parameters(text)


def test_an_encoded_percent_sign_is_not_a_nul() -> None:
    assert parse_parameters("a=%2500").get("a") == "%00"


@pytest.mark.parametrize(
    "text",
    ['a"b', "a\\b", "a\tb", "ä", "a\n", "\x7f", "a" * 4001],
    ids=[
        "quote",
        "backslash",
        "tab",
        "not ASCII",
        "newline",
        "control character",
        "too long",
    ],
)
def test_an_invalid_scope_is_refused(text: str) -> None:
    with pytest.raises(InvalidScope):
        parse_scope(text)


@given(st.frozensets(st.text([chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"\\'], min_size=1, max_size=9)))
def test_a_formatted_scope_is_parsed_to_the_same_names(scope: frozenset[str]) -> None:
    assert parse_scope(format_scope(scope)) == scope


def test_order_and_repetition_of_scope_names_do_not_matter() -> None:
    assert parse_scope("b a b") == parse_scope("a b")
    assert parse_scope(None) == parse_scope("") == frozenset()
