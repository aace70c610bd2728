"""OpenID Connect Core 1.0: the authentication request and its response."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.conformance.relying_party import MakeRelyingParty, RelyingParty, redirect_error, register_relying_party
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, ISSUER, hidden_fields, redirect_parameters
from tests.support.clock import Clock
from tests.support.store_assertions import assert_store_unchanged
from valetkey.protocol.resource_owner import PASSWORD_ACR, Owner


def test_the_code_flow_returns_an_id_token(rp: RelyingParty) -> None:
    """§3.1.1, §3.1.3.3."""
    tokens = rp.obtain_tokens()

    assert rp.decode_jwt(tokens["id_token"])["sub"] == "ada"
    assert tokens["token_type"] == "Bearer"


def test_without_the_scope_openid_there_is_no_id_token(rp: RelyingParty) -> None:
    """§3.1.2.1: scope."""
    assert "id_token" not in rp.obtain_tokens(scope="profile")


def test_an_unknown_scope_is_ignored(rp: RelyingParty) -> None:
    """§3.1.2.1: scope."""
    assert rp.obtain_tokens(scope="openid email holidays")["scope"] == "email openid"


def test_only_the_response_type_code_is_supported(rp: RelyingParty) -> None:
    """§3."""
    for response_type in ("id_token", "code id_token", "code token", "token"):
        assert redirect_error(rp.authorize(response_type=response_type)) == "unsupported_response_type"


def test_a_request_without_response_type_is_refused_by_redirect(rp: RelyingParty) -> None:
    """§3.1.2.1: response_type."""
    assert redirect_error(rp.authorize(response_type=None)) == "invalid_request"


def test_the_redirect_uri_is_required(rp: RelyingParty) -> None:
    """§3.1.2.1: redirect_uri; OAuth 2.0 without OpenID Connect allows a client with one redirect URI to omit it."""
    with assert_store_unchanged(rp.runtime):
        refused = rp.authorize(redirect_uri=None)

    assert (refused.status_code, refused.location) == (400, None)
    assert rp.authorize(redirect_uri=None, scope="profile").status_code == 303


def test_an_unregistered_redirect_uri_is_refused_without_a_redirect(rp: RelyingParty) -> None:
    """§3.1.2.1: redirect_uri."""
    for uri in (f"{CALLBACK}?foo=bar", f"{CALLBACK}/", CALLBACK.upper(), "https://evil.example/"):
        refused = rp.authorize(redirect_uri=uri)

        assert (refused.status_code, refused.location) == (400, None)


def test_response_parameters_are_added_to_the_query_of_a_registered_redirect_uri(
    make_relying_party: MakeRelyingParty,
) -> None:
    """§3.1.2.5, RFC 6749 §3.1.2."""
    rp = make_relying_party(redirect_uris=[f"{CALLBACK}?foo=bar"])

    response = rp.complete_authorization(redirect_uri=f"{CALLBACK}?foo=bar")

    assert redirect_parameters(response).keys() == {"foo", "code", "state", "iss"}


def test_an_authorization_request_may_be_sent_by_post(rp: RelyingParty) -> None:
    """§3.1.2.1: GET and POST are both supported."""
    response = rp.complete_authorization_by_post(scope="openid email")

    assert redirect_parameters(response)["state"] == "xyz"
    assert rp.redeem(redirect_parameters(response)["code"]).json["id_token"]


def test_a_long_request_is_accepted_by_get_and_by_post(rp: RelyingParty) -> None:
    """§3.1.2.1."""
    parameters = {"state": "s" * 8000, "nonce": "n" * 1000, "unknown": "u" * 2000}

    assert redirect_parameters(rp.complete_authorization(**parameters))["state"] == "s" * 8000
    assert redirect_parameters(rp.complete_authorization_by_post(**parameters))["state"] == "s" * 8000


def test_unknown_parameters_are_ignored(rp: RelyingParty) -> None:
    """§3.1.2.1: other parameters."""
    assert "code" in redirect_parameters(rp.complete_authorization(extra="foobar", foo_bar="1", audience="x"))


def test_display_locales_and_acr_values_cause_no_error(rp: RelyingParty) -> None:
    """§3.1.2.1, §5.2: display, ui_locales, claims_locales, acr_values."""
    hints = {"ui_locales": "se de-CH", "claims_locales": "fr en", "acr_values": "1 2"}
    for display in ("page", "popup", "touch", "wap", "embedded"):  # an unknown one is ignored
        assert "code" in redirect_parameters(rp.complete_authorization(display=display, **hints))


def test_the_login_hint_is_filled_in_on_the_sign_in_page(rp: RelyingParty) -> None:
    """§3.1.2.1: login_hint."""
    rp.sign_out()
    response = rp.get(rp.authorize(login_hint="ada@example.org").location)

    assert 'value="ada@example.org"' in rp.get(response.location).text


def test_prompt_none_returns_a_code_without_a_page(rp: RelyingParty) -> None:
    """§3.1.2.1: prompt."""
    rp.complete_authorization()

    assert "code" in redirect_parameters(rp.authorize(prompt="none"))


def test_prompt_none_without_a_signed_in_user_is_login_required(rp: RelyingParty) -> None:
    """§3.1.2.3, §3.1.2.6."""
    rp.sign_out()

    refused = rp.authorize(prompt="none")

    assert redirect_error(refused) == "login_required"
    assert redirect_parameters(refused)["state"] == "xyz"


def test_prompt_none_without_consent_is_consent_required(rp: RelyingParty) -> None:
    """§3.1.2.4, §3.1.2.6."""
    with assert_store_unchanged(rp.runtime):
        assert redirect_error(rp.authorize(prompt="none")) == "consent_required"


@pytest.mark.parametrize(
    "changes",
    [
        {"max_age": "1"},
        {"claims": json.dumps({"id_token": {"acr": {"essential": True, "value": "unknown"}}})},
        {"claims": json.dumps({"id_token": {"sub": {"value": "somebody else"}}})},
    ],
    ids=["max_age", "acr", "sub"],
)
def test_prompt_none_without_consent_does_not_reveal_who_signed_in_when_or_how(
    rp: RelyingParty, clock: Clock, changes: dict[str, str]
) -> None:
    """§3.1.2.6."""
    clock.forward(seconds=10)

    assert redirect_error(rp.authorize(prompt="none", **changes)) == "consent_required"


def test_a_user_can_deny_although_the_client_requires_a_new_sign_in(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.4."""
    page_path = rp.authorize(max_age="60").location
    assert 'id="deny"' in rp.get(page_path).text
    form = {**hidden_fields(rp.get(page_path).text), "decision": "deny"}
    clock.forward(seconds=120)

    assert redirect_error(rp.http.post(page_path, data=form)) == "access_denied"


@pytest.mark.parametrize("prompt", ["none login", "none consent", "login none select_account"])
def test_prompt_none_cannot_be_combined_with_other_values(rp: RelyingParty, prompt: str) -> None:
    """§3.1.2.1: prompt."""
    assert redirect_error(rp.authorize(prompt=prompt)) == "invalid_request"


def test_prompt_login_requires_a_new_sign_in_each_time(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.1, §3.1.2.3: prompt."""
    times = []
    for _ in range(3):
        clock.forward(seconds=10)
        times.append(rp.obtain_id_token_claims(prompt="login")["auth_time"])

    assert times == [clock.time - 20, clock.time - 10, clock.time]


def test_an_earlier_sign_in_does_not_satisfy_prompt_login(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.3."""
    rp.complete_authorization()
    clock.forward(seconds=1)

    assert rp.requires_sign_in(prompt="login")
    assert rp.requires_sign_in(prompt="login consent")


def test_prompt_consent_requires_consent_although_it_was_given(rp: RelyingParty) -> None:
    """§3.1.2.4."""
    rp.complete_authorization()

    assert not rp.requires_consent()
    assert rp.requires_consent(prompt="consent")
    assert "code" in redirect_parameters(rp.complete_authorization(prompt="consent"))


def test_prompt_select_account_offers_another_account(rp: RelyingParty) -> None:
    """§3.1.2.1: prompt."""
    rp.complete_authorization()

    page = rp.get(rp.authorize(prompt="select_account").location)

    assert "Use another account" in page.text


def test_an_unknown_prompt_value_is_an_invalid_request(rp: RelyingParty) -> None:
    """§3.1.2.6, Initiating User Registration §4.1.1."""
    assert redirect_error(rp.authorize(prompt="create")) == "invalid_request"


def test_max_age_requires_a_new_sign_in_if_the_last_is_too_old(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.1: max_age."""
    rp.complete_authorization()
    clock.forward(seconds=2)

    assert not rp.requires_sign_in(max_age="10000")
    assert rp.requires_sign_in(max_age="1")
    assert redirect_error(rp.authorize(max_age="1", prompt="none")) == "login_required"
    assert rp.obtain_id_token_claims(max_age="1")["auth_time"] == clock.time


def test_max_age_0_always_requires_a_new_sign_in(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.1: max_age=0 is the same as prompt=login."""
    clock.forward(seconds=0.5)

    assert rp.requires_sign_in(max_age="0")
    assert rp.obtain_id_token_claims(max_age="0")["auth_time"] == int(clock.time)


def test_a_sign_in_after_the_request_satisfies_max_age_even_if_it_takes_longer(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.1: otherwise max_age=1 could never be satisfied."""
    clock.forward(seconds=60)
    page = rp.authorize(max_age="1").location
    rp.sign_in_as("ada")
    clock.forward(seconds=30)

    assert "code" in redirect_parameters(rp.follow_to_client(rp.get(page)))


@pytest.mark.parametrize("max_age", ["-1", "1.5", "soon", "9" * 30, "²"])
def test_a_max_age_that_is_not_a_number_is_refused(rp: RelyingParty, max_age: str) -> None:
    """§3.1.2.1: max_age."""
    assert redirect_error(rp.authorize(max_age=max_age)) == "invalid_request"


def test_default_max_age_applies_to_requests_without_max_age(
    make_relying_party: MakeRelyingParty, clock: Clock
) -> None:
    """§3.1.2.1: max_age, Registration §2."""
    rp = make_relying_party(members={"default_max_age": 60})
    rp.sign_in_as("ada")
    clock.forward(seconds=61)

    assert rp.requires_sign_in()
    assert not rp.requires_sign_in(max_age="10000")


def test_an_id_token_hint_of_the_signed_in_user_is_accepted(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.1: id_token_hint; it may have expired."""
    hint = rp.obtain_tokens()["id_token"]
    clock.forward(seconds=2 * 3600)

    assert "code" in redirect_parameters(rp.authorize(prompt="none", id_token_hint=hint))


def test_an_id_token_hint_of_another_user_is_login_required(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.1: id_token_hint."""
    hint = rp.obtain_tokens()["id_token"]
    clock.forward(seconds=1)
    rp.sign_in_as("bob")
    rp.complete_authorization(user_sub="bob")
    clock.forward(seconds=1)

    assert redirect_error(rp.authorize(prompt="none", id_token_hint=hint)) == "login_required"
    assert rp.requires_sign_in(id_token_hint=hint)


def test_a_sign_in_by_another_user_than_the_id_token_hints_is_login_required(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.1: id_token_hint; the sign-in page is not shown again in a loop."""
    hint = rp.obtain_tokens()["id_token"]
    rp.sign_out()

    assert redirect_error(rp.complete_authorization(user_sub="bob", id_token_hint=hint)) == "login_required"
    clock.forward(seconds=1)
    assert "code" in redirect_parameters(rp.complete_authorization(user_sub="ada", id_token_hint=hint))


def test_an_id_token_hint_that_is_not_an_id_token_for_this_client_is_refused(
    rp: RelyingParty, make_relying_party: MakeRelyingParty
) -> None:
    """§3.1.2.2: the issuer and audience of a hint."""
    tokens = rp.obtain_tokens()
    header, payload, signature = tokens["id_token"].split(".")
    unsigned = f"eyJhbGciOiJub25lIn0.{payload}."
    logout_token = rp.runtime.token_generator.sign_jwt(
        rp.decode_jwt(tokens["id_token"]), "RS256", "logout+jwt", rp.runtime.clock()
    )

    for hint in (
        tokens["access_token"],
        logout_token,
        unsigned,
        f"{header}.{payload}.{signature[::-1]}",
        "nonsense",
        "a.b.c",
    ):
        assert redirect_error(rp.authorize(id_token_hint=hint)) == "invalid_request"
    assert (
        redirect_error(make_relying_party(name="Other").authorize(id_token_hint=tokens["id_token"]))
        == "invalid_request"
    )


def test_signed_userinfo_is_not_accepted_as_an_id_token_hint(make_relying_party: MakeRelyingParty) -> None:
    """§3.1.2.2, RFC 8725 §3.12."""
    rp = make_relying_party(members={"userinfo_signed_response_alg": "RS256"})
    tokens = rp.obtain_tokens()
    userinfo = rp.call_userinfo(tokens["access_token"]).text

    assert redirect_error(rp.authorize(id_token_hint=userinfo)) == "invalid_request"
    assert "error" not in redirect_parameters(rp.authorize(id_token_hint=tokens["id_token"]))


def test_a_sub_in_the_claims_parameter_restricts_the_response_to_that_user(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.2.2, §5.5.1: sub with a value or values."""
    rp.complete_authorization()
    clock.forward(seconds=1)

    for sub, error in (({"value": "bob"}, "login_required"), ({"values": ["bob", "eve"]}, "login_required")):
        assert redirect_error(rp.authorize(prompt="none", claims=json.dumps({"id_token": {"sub": sub}}))) == error
    for sub in ({"value": "ada"}, {"values": ["bob", "ada"]}, None, {"essential": True}):
        assert "code" in redirect_parameters(rp.authorize(prompt="none", claims=json.dumps({"id_token": {"sub": sub}})))


def test_a_client_without_consent_cannot_find_out_who_is_signed_in(rp: RelyingParty) -> None:
    """§3.1.2.6: the error must not depend on the user who is signed in."""
    errors = {
        redirect_error(rp.authorize(prompt="none", claims=json.dumps({"id_token": {"sub": {"value": sub}}})))
        for sub in ("ada", "bob")
    }

    assert errors == {"consent_required"}


def test_an_id_token_hint_and_a_requested_sub_must_be_the_same_user(rp: RelyingParty) -> None:
    """§3.1.2.2."""
    hint = rp.obtain_tokens()["id_token"]
    claims = json.dumps({"id_token": {"sub": {"value": "bob"}}})

    assert redirect_error(rp.authorize(id_token_hint=hint, claims=claims)) == "invalid_request"


def test_an_essential_acr_that_is_not_supported_is_an_error(rp: RelyingParty) -> None:
    """§5.5.1.1, Unmet Authentication Requirements 1.0 §2."""
    rp.complete_authorization()
    unsupported = {"essential": True, "values": ["urn:mace:incommon:iap:silver"]}
    supported = {"essential": True, "values": ["urn:mace:incommon:iap:silver", PASSWORD_ACR]}

    for parameters in ({}, {"prompt": "none"}):
        refused = rp.complete_authorization(claims=json.dumps({"id_token": {"acr": unsupported}}), **parameters)
        assert redirect_error(refused) == "unmet_authentication_requirements"
    assert rp.obtain_id_token_claims(claims=json.dumps({"id_token": {"acr": supported}}))["acr"] == PASSWORD_ACR


def test_an_unsupported_essential_acr_is_an_error_also_after_a_sign_in(rp: RelyingParty) -> None:
    """§5.5.1.1."""
    rp.sign_out()
    acr = {"essential": True, "value": "urn:mace:incommon:iap:silver"}

    assert (
        redirect_error(rp.complete_authorization(claims=json.dumps({"id_token": {"acr": acr}})))
        == "unmet_authentication_requirements"
    )


def test_a_voluntary_acr_that_is_not_supported_is_not_an_error(rp: RelyingParty) -> None:
    """§5.5.1.1, §3.1.2.1: acr_values."""
    acr = {"values": ["urn:mace:incommon:iap:silver"]}

    assert (
        rp.obtain_id_token_claims(claims=json.dumps({"id_token": {"acr": acr}}), acr_values="1 2")["acr"]
        == PASSWORD_ACR
    )


@pytest.mark.parametrize(
    ("parameter", "value", "error"),
    [
        ("request", "eyJhbGciOiJub25lIn0.e30.", "request_not_supported"),
        ("request_uri", "https://shop.example/request", "request_uri_not_supported"),
        ("registration", '{"client_name": "Shop"}', "registration_not_supported"),
    ],
)
def test_unsupported_parameters_are_refused_with_their_own_error_code(
    rp: RelyingParty, parameter: str, value: str, error: str
) -> None:
    """§6, §7.2.1, §3.1.2.6."""
    with assert_store_unchanged(rp.runtime):
        assert redirect_error(rp.authorize(**{parameter: value})) == error


@pytest.mark.parametrize("parameter", ["request", "request_uri"])
def test_a_request_object_is_refused_by_redirect_even_without_a_redirect_uri(rp: RelyingParty, parameter: str) -> None:
    """§6.1: the redirect URI might be in the request object; the error goes to the client's only registered one."""
    changes = {"redirect_uri": None, parameter: "https://shop.example/request"}

    assert redirect_error(rp.authorize(**changes)) == f"{parameter}_not_supported"


def test_an_error_response_has_state_and_issuer(rp: RelyingParty) -> None:
    """§3.1.2.6."""
    rp.sign_out()

    assert redirect_parameters(rp.authorize(prompt="none")).keys() == {"error", "error_description", "state", "iss"}
    assert redirect_parameters(rp.authorize(prompt="none", state=None)).keys() == {"error", "error_description", "iss"}


def test_consent_is_required_before_a_code_is_issued(rp: RelyingParty) -> None:
    """§3.1.2.4."""
    assert rp.requires_consent()
    assert redirect_error(rp.deny(rp.authorize().location)) == "access_denied"


def test_the_scope_openid_cannot_be_deselected_on_the_consent_page(rp: RelyingParty) -> None:
    """§3.1.3.3: if a request with openid is allowed, the client gets an ID token."""
    redirect = rp.authorize(scope="openid email")
    assert "Always included" in rp.get(redirect.location).text

    response = rp.approve(redirect.location, scope=("email",))

    assert rp.redeem(redirect_parameters(response)["code"]).json["id_token"]


def test_nonce_is_optional_in_the_code_flow(rp: RelyingParty) -> None:
    """§3.1.2.1: nonce."""
    assert "nonce" not in rp.obtain_id_token_claims(nonce=None)


def test_offline_access_requires_consent_and_returns_a_refresh_token(rp: RelyingParty) -> None:
    """§11."""
    rp.complete_authorization()

    assert rp.requires_consent(scope="openid offline_access")
    tokens = rp.obtain_tokens(scope="openid offline_access", prompt="consent")
    assert rp.refresh(tokens["refresh_token"]).status_code == 200


def test_a_client_without_the_refresh_token_grant_type_gets_no_refresh_token(
    make_relying_party: MakeRelyingParty,
) -> None:
    """§11."""
    rp = make_relying_party(grant_types=["authorization_code"])

    assert "refresh_token" not in rp.obtain_tokens(scope="openid offline_access", prompt="consent")


def test_only_clients_with_the_policy_oidc_compat_may_omit_pkce(make_relying_party: MakeRelyingParty) -> None:
    """§3.1.2.1: certified relying parties send no code_challenge."""
    without_pkce = {"code_challenge": None, "code_challenge_method": None}
    rp = make_relying_party("oidc-compat")

    redeemed = rp.redeem(redirect_parameters(rp.complete_authorization(**without_pkce))["code"], code_verifier=None)

    assert rp.decode_jwt(redeemed.json["id_token"])["sub"] == "ada"
    assert redirect_error(make_relying_party().authorize(**without_pkce)) == "invalid_request"


def test_a_code_used_again_after_half_a_minute_is_refused(rp: RelyingParty, clock: Clock) -> None:
    """§3.1.3.2, RFC 6749 §4.1.2."""
    code = redirect_parameters(rp.complete_authorization())["code"]
    token = rp.redeem(code).json["access_token"]
    clock.forward(seconds=30)

    assert rp.redeem(code).json["error"] == "invalid_grant"
    assert rp.call_userinfo(token).status_code == 401


def test_a_client_may_authenticate_by_basic_or_in_the_form(rp: RelyingParty) -> None:
    """§9: client_secret_basic, client_secret_post."""
    client_id, secret = rp.auth or ("", "")
    parameters = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": "v" * 43}
    for credentials in ({"auth": rp.auth}, {"data": {"client_id": client_id, "client_secret": secret}}):
        code = redirect_parameters(rp.complete_authorization())["code"]
        data = {**parameters, "code": code, **credentials.get("data", {})}
        assert rp.http.post("/oauth/token", data=data, auth=credentials.get("auth")).json["id_token"]


class Host:
    """A host's accounts for ``resource_owner=``; ``sign_in_requests`` has the arguments of each ``sign_in_url()``."""

    def __init__(self, owner: Owner | None) -> None:
        self.owner = owner
        self.sign_in_requests: list[dict[str, Any]] = []

    def current(self) -> Owner | None:
        return self.owner

    def find(self, sub: str) -> Owner | None:
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> dict[str, Any]:
        return {}

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        self.sign_in_requests.append({"fresh": fresh, "acr_values": acr_values})
        return f"/login?{urlencode({'next': next})}"


def test_prompt_login_and_acr_values_are_passed_to_the_hosts_sign_in_url(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock
) -> None:
    """§3.1.2.3: reauthentication when the accounts are the host's."""
    host = Host(Owner("ada", auth_time=clock.time - 60))
    rp = register_relying_party(make_app(sqlite_store_url, resource_owner=host))

    rp.get(rp.authorize(prompt="login", acr_values="gold").location)
    host.owner = None
    rp.get(rp.authorize().location)

    assert host.sign_in_requests == [{"fresh": True, "acr_values": ("gold",)}, {"fresh": False, "acr_values": ()}]


def test_max_age_is_refused_if_the_host_does_not_report_auth_time(make_app: MakeApp, sqlite_store_url: str) -> None:
    """§2: auth_time is required if max_age is requested."""
    signed_in_subs: list[str] = []
    app = make_app(
        sqlite_store_url, resource_owner=lambda: next(iter(signed_in_subs), None), sign_in_url=f"{ISSUER}/login"
    )
    rp = register_relying_party(app)
    redirect = rp.authorize(max_age="100")
    signed_in_subs.append("ada")

    assert redirect_error(rp.get(redirect.location)) == "invalid_request"
    assert redirect_error(rp.authorize(max_age="100")) == "invalid_request"
