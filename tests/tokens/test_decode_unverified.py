"""JWTs from outside, before anything is verified: whatever is sent, the result is two objects or a ``ValueError``."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valetkey.tokens.jws import decode_unverified

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["alg", "ES256", "JWT", "none", "typ", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def encode(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@given(header=JSON_VALUES, claims=JSON_VALUES)
def test_a_decoded_jwt_has_objects_as_header_and_claims(header: object, claims: object) -> None:
    try:
        decoded = decode_unverified(f"{encode(header)}.{encode(claims)}.c2ln")
    except ValueError:
        return
    assert [type(part) for part in decoded] == [dict, dict]


@pytest.mark.parametrize("header", [["alg"], "alg", 1, None, [{"alg": "ES256"}]])
def test_a_header_that_is_not_an_object_is_refused(header: object) -> None:
    with pytest.raises(ValueError, match="not a JWT"):
        decode_unverified(f"{encode(header)}.e30.c2ln")
