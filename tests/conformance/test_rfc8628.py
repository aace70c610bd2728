"""RFC 8628: OAuth 2.0 Device Authorization Grant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import KeySet
from werkzeug.test import TestResponse

from tests.support.app import MakeApp, Register
from tests.support.browser_client import ISSUER, Browser, sign_in_new_account
from tests.support.clock import Clock
from tests.support.store_assertions import assert_store_unchanged
from valetkey.authorization_server.clients.service import register_client
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.engine.transaction import Transaction


@dataclass
class Device:
    """A television, and the person before it with a browser elsewhere."""

    machine: Browser
    person: Browser

    def ask(self, **sent: Any) -> TestResponse:
        return self.machine.post("/oauth/device", **{"scope": "profile", **sent})

    def codes(self, **sent: Any) -> dict[str, Any]:
        asked = self.ask(**sent)
        assert asked.status_code == 200, asked.text
        return dict(asked.json)

    def poll(self, device_code: str, **sent: Any) -> TestResponse:
        return self.machine.request_token(DEVICE_CODE_GRANT_TYPE, device_code=device_code, **sent)

    def enter(self, user_code: str) -> TestResponse:
        return self.person.submit("/device", {"user_code": user_code})

    def answer(self, user_code: str, decision: str = "allow", scope: tuple[str, ...] = ("profile",)) -> TestResponse:
        entered = self.enter(user_code)
        assert entered.status_code == 303, entered.text
        return self.person.submit(entered.location, {"decision": decision, "scope": list(scope)})


def error_of(response: TestResponse) -> tuple[int, str]:
    return response.status_code, response.json["error"]


@pytest.fixture
def tv(register: Register, app: Flask, ada: Browser) -> Device:
    return Device(Browser(app.test_client(), register("native", name="Television")), ada)


def test_the_response_has_every_member_and_is_not_cached(tv: Device) -> None:
    """§3.2."""
    asked = tv.ask()

    assert asked.headers["Cache-Control"] == "no-store"
    assert asked.json["verification_uri"] == f"{ISSUER}/device"
    assert asked.json["verification_uri_complete"] == f"{ISSUER}/device?user_code={asked.json['user_code']}"
    assert (asked.json["expires_in"], asked.json["interval"]) == (600, 5)
    assert re.fullmatch(r"vk_dc_\w{50}", asked.json["device_code"])


def test_a_user_code_is_eight_letters_that_are_hard_to_misread(tv: Device) -> None:
    """§5.1, §6.1."""
    shown = {tv.codes()["user_code"] for _ in range(20)}

    assert len(shown) == 20
    assert all(re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", code) for code in shown)


def test_metadata_names_the_endpoint_and_the_grant_type(tv: Device) -> None:
    """§4."""
    found = tv.machine.get("/.well-known/oauth-authorization-server").json

    assert found["device_authorization_endpoint"] == f"{ISSUER}/oauth/device"
    assert DEVICE_CODE_GRANT_TYPE in found["grant_types_supported"]


def test_a_confidential_client_must_authenticate_at_the_endpoint(register: Register, app: Flask, ada: Browser) -> None:
    """§3.1."""
    web = register("web", grant_types=["authorization_code", DEVICE_CODE_GRANT_TYPE])
    device = Device(Browser(app.test_client(), web), ada)

    assert device.ask().status_code == 200
    unproved = app.test_client().post("/oauth/device", data={"client_id": web.client_id})
    assert error_of(unproved) == (401, "invalid_client")


def test_a_client_without_the_grant_type_is_refused_at_both_endpoints(ada: Browser, runtime: Runtime) -> None:
    """§3.1, RFC 6749 §5.2."""
    with assert_store_unchanged(runtime):
        assert error_of(ada.post("/oauth/device", scope="profile")) == (400, "unauthorized_client")
        assert error_of(ada.request_token(DEVICE_CODE_GRANT_TYPE, device_code="x")) == (400, "unauthorized_client")


def test_a_scope_or_resource_that_is_not_served_is_refused(tv: Device, runtime: Runtime) -> None:
    """§3.2, RFC 6749 §5.2, RFC 8707 §2."""
    with assert_store_unchanged(runtime):
        assert error_of(tv.ask(scope="nonsense")) == (400, "invalid_scope")
        assert error_of(tv.ask(resource="https://elsewhere.example")) == (400, "invalid_target")


def test_get_is_refused(tv: Device) -> None:
    """§3.1: requests are sent by POST."""
    assert tv.machine.get("/oauth/device").status_code == 405


def test_until_the_person_has_answered_the_device_is_told_to_wait(tv: Device) -> None:
    """§3.5."""
    assert error_of(tv.poll(tv.codes()["device_code"])) == (400, "authorization_pending")


def test_a_device_that_polls_too_fast_slows_down_by_five_seconds_each_time(tv: Device, clock: Clock) -> None:
    """§3.5: for this and all later requests."""
    code = tv.codes()["device_code"]
    tv.poll(code)

    told = []
    for wait in (5, 3, 10, 15, 14, 20):  # asked for: 5, 5, 10, then 10, ...
        clock.forward(wait)
        told.append(error_of(tv.poll(code))[1])
    pending, slower = "authorization_pending", "slow_down"
    assert told == [pending, slower, pending, pending, pending, pending]


def test_a_device_that_then_waits_long_enough_is_in_good_standing(tv: Device, clock: Clock) -> None:
    """§3.5."""
    code = tv.codes()["device_code"]
    tv.poll(code)
    assert error_of(tv.poll(code))[1] == "slow_down"

    clock.forward(9)
    assert error_of(tv.poll(code))[1] == "slow_down"  # ten seconds are asked for now, and fifteen from here
    clock.forward(15)
    assert error_of(tv.poll(code))[1] == "authorization_pending"


def test_an_expired_code_is_called_so(tv: Device, clock: Clock) -> None:
    """§3.5."""
    codes = tv.codes()
    clock.forward(600)

    assert error_of(tv.poll(codes["device_code"])) == (400, "expired_token")
    assert "not known, or has expired" in tv.enter(codes["user_code"]).text


def test_a_code_that_was_allowed_expires_too(tv: Device, clock: Clock) -> None:
    """§3.2: expires_in is the lifetime of both codes."""
    codes = tv.codes()
    tv.answer(codes["user_code"])
    clock.forward(600)

    assert error_of(tv.poll(codes["device_code"])) == (400, "expired_token")


def test_a_code_cannot_be_allowed_after_it_expired(tv: Device, clock: Clock, runtime: Runtime) -> None:
    """§3.2."""
    entered = tv.enter(tv.codes()["user_code"])
    page = tv.person.get(entered.location)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    clock.forward(600)

    with assert_store_unchanged(runtime):
        late = tv.person.http.post(
            entered.location, data={"csrf_token": token[1], "decision": "allow", "scope": "profile"}
        )
    assert late.status_code == 400


def test_a_denial_is_a_denial(tv: Device) -> None:
    """§3.5."""
    codes = tv.codes()
    assert "You denied access" in tv.answer(codes["user_code"], "deny").text

    assert error_of(tv.poll(codes["device_code"])) == (400, "access_denied")
    assert error_of(tv.poll(codes["device_code"])) == (400, "access_denied")


def test_an_allowed_device_gets_a_token_and_calls_the_api(tv: Device) -> None:
    """§3.4, §3.5."""
    codes = tv.codes()
    assert "connected" in tv.answer(codes["user_code"]).text

    got = tv.poll(codes["device_code"])
    assert got.status_code == 200
    assert got.headers["Cache-Control"] == "no-store"
    assert (got.json["token_type"], got.json["scope"]) == ("Bearer", "profile")
    assert tv.machine.call(got.json["access_token"]).json["user"] == "ada"
    assert tv.machine.refresh(got.json["refresh_token"]).status_code == 200


def test_the_owner_may_grant_less_than_is_asked_for(tv: Device) -> None:
    """§3.3, RFC 6749 §3.3."""
    codes = tv.codes(scope="profile notes:read")
    tv.answer(codes["user_code"], scope=("notes:read", "notes:write"))

    assert tv.poll(codes["device_code"]).json["scope"] == "notes:read"


def test_with_openid_there_is_an_id_token(tv: Device, clock: Clock) -> None:
    """§3.1, OpenID Connect Core §2."""
    codes = tv.codes(scope="openid profile")
    tv.answer(codes["user_code"], scope=("openid", "profile"))
    got = tv.poll(codes["device_code"]).json

    keys = KeySet.import_key_set(tv.machine.get("/oauth/jwks").json)
    claims = jwt.decode(got["id_token"], keys, algorithms=["RS256"]).claims
    assert (claims["sub"], claims["aud"], claims["auth_time"]) == ("ada", tv.machine.client.client_id, int(clock()))
    assert "sid" not in claims  # the television is not in the browser's session


def test_a_device_code_is_redeemed_once_and_a_second_time_ends_what_it_gave(tv: Device) -> None:
    """§3.5, as RFC 6749 §4.1.2 has it for codes."""
    codes = tv.codes()
    tv.answer(codes["user_code"])
    got = tv.poll(codes["device_code"]).json

    assert error_of(tv.poll(codes["device_code"])) == (400, "invalid_grant")
    assert tv.machine.call(got["access_token"]).status_code == 401
    assert error_of(tv.machine.refresh(got["refresh_token"])) == (400, "invalid_grant")


def test_another_client_cannot_use_the_device_code(tv: Device, register: Register, app: Flask) -> None:
    """§3.4: the code is bound to the client that asked for it."""
    codes = tv.codes()
    tv.answer(codes["user_code"])
    thief = Device(Browser(app.test_client(), register("native", name="Thief")), tv.person)

    assert error_of(thief.poll(codes["device_code"])) == (400, "invalid_grant")
    assert tv.poll(codes["device_code"]).status_code == 200


def test_a_token_is_for_the_resource_that_was_asked_for(tv: Device) -> None:
    """RFC 8707 §2."""
    codes = tv.codes(resource=ISSUER)
    tv.answer(codes["user_code"])

    assert error_of(tv.poll(codes["device_code"], resource="https://elsewhere.example")) == (400, "invalid_target")
    assert tv.poll(codes["device_code"], resource=ISSUER).status_code == 200


def test_a_person_who_is_put_out_gives_the_device_nothing(tv: Device, runtime: Runtime) -> None:
    """§3.5, RFC 6749 §5.2."""
    codes = tv.codes()
    tv.answer(codes["user_code"])
    runtime.store.write(Transaction(rows=(accounts.set_disabled("ada", runtime.clock()),)))

    assert error_of(tv.poll(codes["device_code"])) == (400, "invalid_grant")


def test_the_page_asks_to_sign_in_and_comes_back_with_the_code(tv: Device, app: Flask) -> None:
    """§3.3."""
    stranger = Browser(app.test_client(), tv.machine.client)
    complete = tv.codes()["verification_uri_complete"].removeprefix(ISSUER)

    sent = stranger.get(complete)
    assert sent.status_code == 303
    assert "next=/device?user_code%3D" in sent.location


def test_the_code_is_read_without_regard_to_case_and_dashes(tv: Device) -> None:
    """§6.1."""
    code = tv.codes()["user_code"]

    for typed in (
        code,
        code.lower(),
        code.replace("-", ""),
        f" {code.replace('-', ' ')} ",
        code.replace("-", "\u2013"),
    ):
        assert tv.enter(typed).status_code == 303, typed


def test_the_complete_uri_shows_the_code_and_asks_whether_it_is_the_devices(tv: Device) -> None:
    """§3.3.1: the person confirms; nothing is skipped."""
    codes = tv.codes()
    page = tv.person.get(codes["verification_uri_complete"].removeprefix(ISSUER))

    assert page.status_code == 200
    assert codes["user_code"] in page.text
    assert "Does your device show this code?" in page.text
    assert error_of(tv.poll(codes["device_code"]))[1] == "authorization_pending"


def test_the_consent_page_names_app_code_and_scope_and_warns_of_strangers(tv: Device) -> None:
    """§5.4: remote phishing."""
    codes = tv.codes()
    page = tv.person.get(tv.enter(codes["user_code"]).location)

    for words in ("Television", codes["user_code"], "See your name and picture", "Is this your device?"):
        assert words in page.text


def test_the_person_is_asked_also_where_they_allowed_the_app_before(tv: Device) -> None:
    """§5.4."""
    tv.answer(tv.codes()["user_code"])
    again = tv.codes()

    assert tv.person.get(tv.enter(again["user_code"]).location).status_code == 200
    assert error_of(tv.poll(again["device_code"]))[1] == "authorization_pending"


def test_one_person_guesses_ten_codes_and_then_waits(tv: Device, clock: Clock) -> None:
    """§5.1, §5.2."""
    right = tv.codes()["user_code"]
    told = [tv.enter("BBBB-BBBB").status_code for _ in range(11)]

    assert told == [400] * 10 + [429]
    assert tv.enter(right).status_code == 429
    clock.forward(60)
    assert tv.enter(right).status_code == 303


def test_a_right_code_costs_no_guess(tv: Device) -> None:
    """§5.1."""
    for _ in range(12):
        assert tv.enter(tv.codes()["user_code"]).status_code == 303


def test_many_accounts_at_one_address_share_a_limit(tv: Device, app: Flask, runtime: Runtime) -> None:
    """§5.1."""
    statuses = []
    for number in range(4):
        person = Browser(app.test_client(), tv.machine.client)
        guesser = Device(tv.machine, sign_in_new_account(person, runtime, f"p{number}@example.org", f"p{number}"))
        statuses += [guesser.enter("BBBB-BBBB").status_code for _ in range(9)]
    assert statuses.count(400) == 30


def test_the_approval_is_bound_to_the_sign_in_that_entered_the_code(tv: Device, app: Flask, runtime: Runtime) -> None:
    """§5.3, §5.4: not another person's, not another browser's."""
    entered = tv.enter(tv.codes()["user_code"])
    other = Browser(app.test_client(), tv.machine.client)
    sign_in_new_account(other, runtime, "eve@example.org", "Eve")

    with assert_store_unchanged(runtime):
        refused = other.submit(entered.location, {"decision": "allow", "scope": ["profile"]}, page_path="/device")
    assert refused.status_code == 400


def test_a_link_to_the_consent_page_opens_in_no_other_browser(tv: Device, app: Flask) -> None:
    """§5.4: also with the same sign-in."""
    entered = tv.enter(tv.codes()["user_code"])
    other = Browser(app.test_client(), tv.machine.client)
    other.http.set_cookie("valetkey_session", tv.person.http.get_cookie("valetkey_session").value)

    refused = other.get(entered.location)
    assert refused.status_code == 400
    assert "this browser" in refused.text


def test_in_the_same_browser_another_sign_in_cannot_answer(tv: Device, runtime: Runtime) -> None:
    """§5.3."""
    entered = tv.enter(tv.codes()["user_code"])
    cookie = tv.person.http.get_cookie("valetkey_browser")
    sign_in_new_account(tv.person, runtime, "eve@example.org", "Eve")
    tv.person.http.set_cookie("valetkey_browser", cookie.value)

    with assert_store_unchanged(runtime):
        refused = tv.person.submit(entered.location, {"decision": "allow", "scope": ["profile"]}, page_path="/device")
    assert refused.status_code == 400
    assert "this sign-in" in refused.text


def test_no_other_site_can_send_the_forms(tv: Device, runtime: Runtime) -> None:
    """§5.4, RFC 6749 §10.12."""
    code = tv.codes()["user_code"]
    entered = tv.enter(code)

    with assert_store_unchanged(runtime):
        forged = tv.person.http.post("/device", data={"user_code": code})
        assert forged.status_code == 400
        forged = tv.person.http.post(entered.location, data={"decision": "allow", "scope": "profile"})
        assert forged.status_code == 400


def test_a_request_is_answered_once(tv: Device, runtime: Runtime) -> None:
    """§3.3."""
    codes = tv.codes()
    first, second = tv.enter(codes["user_code"]), tv.enter(codes["user_code"])
    tv.person.submit(first.location, {"decision": "deny"})

    assert tv.person.get(second.location).status_code == 400
    with assert_store_unchanged(runtime):
        late = tv.person.submit(second.location, {"decision": "allow", "scope": ["profile"]}, page_path="/device")
    assert late.status_code == 400
    assert error_of(tv.poll(codes["device_code"]))[1] == "access_denied"


def test_a_devices_request_is_no_authorization_request(tv: Device) -> None:
    """Neither kind of waiting request opens at the other's page."""
    entered = tv.enter(tv.codes()["user_code"])
    waiting = entered.location.rsplit("/", 1)[1]

    assert tv.person.get(f"/oauth/consent/{waiting}").status_code == 400
    consent = tv.person.authorize(scope="profile").location.rsplit("/", 1)[1]
    assert tv.person.get(f"/device/{consent}").status_code == 400


def test_secrets_are_kept_as_digests_only(tv: Device, tmp_path: Any) -> None:
    """§5.2: the device code in the store opens nothing."""
    code = tv.codes()["device_code"]

    assert code.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_without_a_device_path_nothing_of_it_is_served_or_advertised(make_app: MakeApp, sqlite_store_url: str) -> None:
    """RFC 8414 §2: only what works is advertised."""
    app = make_app(sqlite_store_url, device_path=None)
    client = register_client(
        app.extensions["valetkey"], name="TV", policy="native", redirect_uris=["http://127.0.0.1/back"]
    )
    tv = Browser(app.test_client(), client)

    found = tv.get("/.well-known/oauth-authorization-server").json
    assert "device_authorization_endpoint" not in found
    assert DEVICE_CODE_GRANT_TYPE not in found["grant_types_supported"]
    assert tv.post("/oauth/device", scope="profile").status_code == 400
    assert tv.get("/device").status_code == 404


def test_one_address_asks_for_so_many_codes_and_no_more(make_app: MakeApp, sqlite_store_url: str) -> None:
    """§5.2: the store does not fill up."""
    app = make_app(sqlite_store_url, device_authorization_limit="2/minute burst 2")
    client = register_client(
        app.extensions["valetkey"], name="TV", policy="native", redirect_uris=["http://127.0.0.1/back"]
    )
    tv = Browser(app.test_client(), client)

    assert [tv.post("/oauth/device", scope="profile").status_code for _ in range(3)] == [200, 200, 429]
