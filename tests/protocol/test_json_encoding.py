"""The JSON encoding of responses and tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.protocol.json_encoding import encode_json

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_encoded_values_are_read_back_equal(value: Any) -> None:
    assert json.loads(encode_json(value)) == value


@pytest.mark.parametrize("value", [2**64, -(2**70), "\ud800", {1: "a"}], ids=repr)
def test_what_orjson_refuses_is_encoded_as_json_does(value: object) -> None:
    assert encode_json(value) == json.dumps(value, separators=(",", ":")).encode()


def test_nan_becomes_null_because_json_has_no_such_number() -> None:
    assert encode_json([float("nan"), float("inf")]) == b"[null,null]"


def test_json_is_compact_utf_8() -> None:
    assert encode_json({"a": "é", "b": [1, 2]}) == '{"a":"é","b":[1,2]}'.encode()


def test_nan_is_never_written_as_it_is() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_json([2**64, float("nan")])


@dataclass
class Pair:
    key: str


@pytest.mark.parametrize("value", [datetime.now(UTC), object(), Pair("a")], ids=["datetime", "object", "dataclass"])
def test_what_json_has_no_type_for_raises_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        encode_json({"value": value})
