"""RFC 6749: The OAuth 2.0 Authorization Framework."""

from __future__ import annotations

import pytest

from tests.conformance.relying_party import RelyingParty, redirect_error
from tests.support.browser_client import redirect_parameters


@pytest.mark.parametrize("state", ["xyz", "a b+c&d=e%20", "é✓", '"<>\\', "=" * 500])
def test_state_is_returned_exactly_as_it_was_sent(rp: RelyingParty, state: str) -> None:
    """§4.1.2, §4.1.2.1."""
    assert redirect_parameters(rp.complete_authorization(state=state))["state"] == state
    assert redirect_parameters(rp.authorize(state=state, response_type="token"))["state"] == state


def test_without_state_none_is_returned(rp: RelyingParty) -> None:
    """§4.1.2."""
    assert "state" not in redirect_parameters(rp.complete_authorization(state=None))
    assert "state" not in redirect_parameters(rp.complete_authorization(state=""))


def test_an_empty_parameter_counts_as_omitted(rp: RelyingParty) -> None:
    """§3.1, §3.2."""
    assert redirect_error(rp.authorize(response_type="")) == "invalid_request"
    assert "code" in redirect_parameters(rp.complete_authorization(prompt="", max_age="", claims="", request=""))
    assert rp.redeem(redirect_parameters(rp.complete_authorization())["code"], resource="").status_code == 200


def test_unrecognized_parameters_are_ignored(rp: RelyingParty) -> None:
    """§3.1, §3.2."""
    code = redirect_parameters(rp.complete_authorization(unknown="1"))["code"]

    assert rp.redeem(code, unknown="1").status_code == 200


def test_the_token_response_has_its_members_and_is_not_cached(rp: RelyingParty) -> None:
    """§5.1."""
    redeemed = rp.redeem(redirect_parameters(rp.complete_authorization(scope="profile"))["code"])

    assert redeemed.json.keys() == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert (redeemed.json["token_type"], redeemed.json["expires_in"]) == ("Bearer", 900)
    assert (redeemed.headers["Cache-Control"], redeemed.headers["Pragma"]) == ("no-store", "no-cache")
    assert redeemed.content_type == "application/json"


def test_an_error_is_json_in_printable_ascii_and_is_not_cached(rp: RelyingParty) -> None:
    """§5.2."""
    refused = rp.request_token("authorization_code", code="é")

    assert (refused.status_code, refused.json["error"]) == (400, "invalid_grant")
    assert refused.headers["Cache-Control"] == "no-store"
    assert all(" " <= c <= "~" and c not in '"\\' for c in refused.json["error_description"])


def test_a_code_is_short_lived_and_cannot_be_guessed(rp: RelyingParty) -> None:
    """§4.1.2, §10.10: ten minutes at most; 256 bits."""
    codes = {redirect_parameters(rp.complete_authorization())["code"] for _ in range(5)}

    assert len(codes) == 5 and min(map(len, codes)) >= 43
    assert rp.runtime.settings.authorization_code_lifetime <= 600


def test_the_implicit_and_password_grants_are_not_supported(rp: RelyingParty) -> None:
    """§4.2, §4.3; RFC 9700 §2.1.2 and §2.4 forbid them."""
    assert redirect_error(rp.authorize(response_type="token")) == "unsupported_response_type"
    assert rp.request_token("password", username="a", password="b").json["error"] == "unsupported_grant_type"
