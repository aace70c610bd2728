"""RFC 8628: OAuth 2.0 Device Authorization Grant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import null, update
from werkzeug.test import TestResponse

from tests.conformance.registration import call_configuration_endpoint
from tests.support.app import MakeApp, Register
from tests.support.browser_client import ISSUER, Browser, sign_in_new_account
from tests.support.clock import Clock
from tests.support.store_assertions import assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.service import register_client
from valetkey.authorization_server.texts import SIGN_IN_TIME_UNKNOWN
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.tables import sessions


@dataclass
class Device:
    """A television, and the browser of its user on another device."""

    machine: Browser
    user: Browser

    def request_authorization(self, **parameters: Any) -> TestResponse:
        """Send a device authorization request."""
        return self.machine.post("/oauth/device", **{"scope": "profile", **parameters})

    def obtain_codes(self, **parameters: Any) -> dict[str, Any]:
        """Return the device authorization response."""
        response = self.request_authorization(**parameters)
        assert response.status_code == 200, response.text
        return dict(response.json)

    def poll(self, device_code: str, **parameters: Any) -> TestResponse:
        """Send a token request."""
        return self.machine.request_token(DEVICE_CODE_GRANT_TYPE, device_code=device_code, **parameters)

    def enter_code(self, user_code: str) -> TestResponse:
        """Submit a user code on the device page."""
        return self.user.submit("/device", {"user_code": user_code})

    def decide(self, user_code: str, decision: str = "allow", scope: tuple[str, ...] = ("profile",)) -> TestResponse:
        """Enter a user code and submit the consent page."""
        response = self.enter_code(user_code)
        assert response.status_code == 303, response.text
        return self.user.submit(response.location, {"decision": decision, "scope": list(scope)})


def status_and_error(response: TestResponse) -> tuple[int, str]:
    """Return the status and the error code of a response."""
    return response.status_code, response.json["error"]


@pytest.fixture
def tv(register: Register, app: Flask, ada: Browser) -> Device:
    """A television whose user is Ada."""
    return Device(Browser(app.test_client(), register("native", name="Television")), ada)


def test_the_response_has_every_member_and_is_not_cached(tv: Device) -> None:
    """§3.2."""
    response = tv.request_authorization()

    assert response.headers["Cache-Control"] == "no-store"
    assert response.json["verification_uri"] == f"{ISSUER}/device"
    assert response.json["verification_uri_complete"] == f"{ISSUER}/device?user_code={response.json['user_code']}"
    assert (response.json["expires_in"], response.json["interval"]) == (600, 5)
    assert re.fullmatch(r"vk_dc_\w{50}", response.json["device_code"])


def test_a_user_code_has_eight_consonants_that_are_hard_to_misread(tv: Device) -> None:
    """§5.1, §6.1."""
    user_codes = {tv.obtain_codes()["user_code"] for _ in range(20)}

    assert len(user_codes) == 20
    assert all(re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", code) for code in user_codes)


def test_metadata_contains_the_endpoint_and_the_grant_type(tv: Device) -> None:
    """§4."""
    metadata = tv.machine.get("/.well-known/oauth-authorization-server").json

    assert metadata["device_authorization_endpoint"] == f"{ISSUER}/oauth/device"
    assert DEVICE_CODE_GRANT_TYPE in metadata["grant_types_supported"]


def test_a_confidential_client_must_authenticate_at_the_endpoint(register: Register, app: Flask, ada: Browser) -> None:
    """§3.1."""
    web = register("web", grant_types=["authorization_code", DEVICE_CODE_GRANT_TYPE])
    device = Device(Browser(app.test_client(), web), ada)

    assert device.request_authorization().status_code == 200
    unauthenticated = app.test_client().post("/oauth/device", data={"client_id": web.client_id})
    assert status_and_error(unauthenticated) == (401, "invalid_client")


def test_a_client_without_the_grant_type_is_refused_at_both_endpoints(ada: Browser, runtime: Runtime) -> None:
    """§3.1, RFC 6749 §5.2."""
    with assert_store_unchanged(runtime):
        assert status_and_error(ada.post("/oauth/device", scope="profile")) == (400, "unauthorized_client")
        assert status_and_error(ada.request_token(DEVICE_CODE_GRANT_TYPE, device_code="x")) == (
            400,
            "unauthorized_client",
        )


def test_an_unknown_scope_or_resource_is_refused(tv: Device, runtime: Runtime) -> None:
    """§3.2, RFC 6749 §5.2, RFC 8707 §2."""
    with assert_store_unchanged(runtime):
        assert status_and_error(tv.request_authorization(scope="nonsense")) == (400, "invalid_scope")
        assert status_and_error(tv.request_authorization(resource="https://elsewhere.example")) == (
            400,
            "invalid_target",
        )


def test_get_is_refused(tv: Device) -> None:
    """§3.1: requests are sent by POST."""
    assert tv.machine.get("/oauth/device").status_code == 405


def test_polling_before_the_user_decides_is_authorization_pending(tv: Device) -> None:
    """§3.5."""
    assert status_and_error(tv.poll(tv.obtain_codes()["device_code"])) == (400, "authorization_pending")


def test_each_poll_that_is_too_early_adds_five_seconds_to_the_interval(tv: Device, clock: Clock) -> None:
    """§3.5: the longer interval applies to this and all later polls."""
    code = tv.obtain_codes()["device_code"]
    tv.poll(code)

    errors = []
    for wait_s in (5, 3, 10, 15, 14, 20):  # the interval is 5, 5, 10, then 10, ...
        clock.forward(wait_s)
        errors.append(status_and_error(tv.poll(code))[1])
    pending, slow_down = "authorization_pending", "slow_down"
    assert errors == [pending, slow_down, pending, pending, pending, pending]


def test_after_slow_down_a_poll_after_the_longer_interval_is_accepted(tv: Device, clock: Clock) -> None:
    """§3.5."""
    code = tv.obtain_codes()["device_code"]
    tv.poll(code)
    assert status_and_error(tv.poll(code))[1] == "slow_down"

    clock.forward(9)
    assert status_and_error(tv.poll(code))[1] == "slow_down"  # the interval was ten seconds and is fifteen from now on
    clock.forward(15)
    assert status_and_error(tv.poll(code))[1] == "authorization_pending"


def test_an_expired_code_is_an_expired_token(tv: Device, clock: Clock) -> None:
    """§3.5."""
    codes = tv.obtain_codes()
    clock.forward(600)

    assert status_and_error(tv.poll(codes["device_code"])) == (400, "expired_token")
    assert "is wrong or has expired" in tv.enter_code(codes["user_code"]).text


def test_an_allowed_device_code_expires_too(tv: Device, clock: Clock) -> None:
    """§3.2: expires_in is the lifetime of both codes."""
    codes = tv.obtain_codes()
    tv.decide(codes["user_code"])
    clock.forward(600)

    assert status_and_error(tv.poll(codes["device_code"])) == (400, "expired_token")


def test_a_code_cannot_be_allowed_after_it_expired(tv: Device, clock: Clock, runtime: Runtime) -> None:
    """§3.2."""
    entered = tv.enter_code(tv.obtain_codes()["user_code"])
    page = tv.user.get(entered.location)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
    clock.forward(600)

    with assert_store_unchanged(runtime):
        late = tv.user.http.post(
            entered.location, data={"csrf_token": token[1], "decision": "allow", "scope": "profile"}
        )
    assert late.status_code == 400


def test_a_denied_request_is_access_denied(tv: Device) -> None:
    """§3.5."""
    codes = tv.obtain_codes()
    assert "You denied access" in tv.decide(codes["user_code"], "deny").text

    assert status_and_error(tv.poll(codes["device_code"])) == (400, "access_denied")
    assert status_and_error(tv.poll(codes["device_code"])) == (400, "access_denied")


def test_an_allowed_device_gets_a_token_and_calls_the_api(tv: Device) -> None:
    """§3.4, §3.5."""
    codes = tv.obtain_codes()
    assert "connected" in tv.decide(codes["user_code"]).text

    response = tv.poll(codes["device_code"])
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert (response.json["token_type"], response.json["scope"]) == ("Bearer", "profile")
    assert tv.machine.call(response.json["access_token"]).json["user"] == "ada"
    assert tv.machine.refresh(response.json["refresh_token"]).status_code == 200


def test_the_user_may_allow_less_than_the_requested_scope(tv: Device) -> None:
    """§3.3, RFC 6749 §3.3."""
    codes = tv.obtain_codes(scope="profile notes:read")
    tv.decide(codes["user_code"], scope=("notes:read", "notes:write"))

    assert tv.poll(codes["device_code"]).json["scope"] == "notes:read"


def test_with_the_scope_openid_there_is_an_id_token(tv: Device, clock: Clock) -> None:
    """§3.1, OpenID Connect Core §2."""
    codes = tv.obtain_codes(scope="openid profile")
    tv.decide(codes["user_code"], scope=("openid", "profile"))
    tokens = tv.poll(codes["device_code"]).json

    keys = KeySet.import_key_set(tv.machine.get("/oauth/jwks").json)
    claims = jwt.decode(tokens["id_token"], keys, algorithms=["RS256"]).claims
    assert (claims["sub"], claims["aud"], claims["auth_time"]) == ("ada", tv.machine.client.client_id, int(clock()))
    assert "sid" not in claims  # the device is not part of the browser's session


def test_a_required_auth_time_needs_a_sign_in_at_a_known_time(
    register: Register, app: Flask, ada: Browser, runtime: Runtime
) -> None:
    """OpenID Connect Core §2: auth_time."""
    client = register("native", name="Television", members={"require_auth_time": True})
    tv = Device(Browser(app.test_client(), client), ada)
    codes = tv.obtain_codes(scope="openid profile")
    runtime.store.write_all(Statement(update(sessions).values(auth_time=null()))())

    page = tv.enter_code(codes["user_code"])

    assert page.status_code == 400 and SIGN_IN_TIME_UNKNOWN in page.text
    assert status_and_error(tv.poll(codes["device_code"])) == (400, "authorization_pending")


def test_device_code_reuse_revokes_the_tokens(tv: Device) -> None:
    """§3.5; the same as RFC 6749 §4.1.2 for authorization codes."""
    codes = tv.obtain_codes()
    tv.decide(codes["user_code"])
    tokens = tv.poll(codes["device_code"]).json

    assert status_and_error(tv.poll(codes["device_code"])) == (400, "invalid_grant")
    assert tv.machine.call(tokens["access_token"]).status_code == 401
    assert status_and_error(tv.machine.refresh(tokens["refresh_token"])) == (400, "invalid_grant")


def test_another_client_cannot_use_the_device_code(tv: Device, register: Register, app: Flask) -> None:
    """§3.4: a device code is bound to the client that requested it."""
    codes = tv.obtain_codes()
    tv.decide(codes["user_code"])
    thief = Device(Browser(app.test_client(), register("native", name="Thief")), tv.user)

    assert status_and_error(thief.poll(codes["device_code"])) == (400, "invalid_grant")
    assert tv.poll(codes["device_code"]).status_code == 200


def test_a_token_is_issued_only_for_the_requested_resource(tv: Device) -> None:
    """RFC 8707 §2."""
    codes = tv.obtain_codes(resource=ISSUER)
    tv.decide(codes["user_code"])

    assert status_and_error(tv.poll(codes["device_code"], resource="https://elsewhere.example")) == (
        400,
        "invalid_target",
    )
    assert tv.poll(codes["device_code"], resource=ISSUER).status_code == 200


def test_a_device_gets_no_token_if_the_user_was_disabled(tv: Device, runtime: Runtime) -> None:
    """§3.5, RFC 6749 §5.2."""
    codes = tv.obtain_codes()
    tv.decide(codes["user_code"])
    runtime.store.write(Transaction(rows=(accounts.set_disabled("ada", runtime.clock()),)))

    assert status_and_error(tv.poll(codes["device_code"])) == (400, "invalid_grant")


def test_the_page_redirects_to_the_sign_in_and_keeps_the_code(tv: Device, app: Flask) -> None:
    """§3.3."""
    signed_out = Browser(app.test_client(), tv.machine.client)
    complete = tv.obtain_codes()["verification_uri_complete"].removeprefix(ISSUER)

    response = signed_out.get(complete)
    assert response.status_code == 303
    assert "next=/device?user_code%3D" in response.location


def test_case_dashes_and_spaces_in_the_user_code_are_ignored(tv: Device) -> None:
    """§6.1."""
    code = tv.obtain_codes()["user_code"]

    for typed in (
        code,
        code.lower(),
        code.replace("-", ""),
        f" {code.replace('-', ' ')} ",
        code.replace("-", "\u2013"),
    ):
        assert tv.enter_code(typed).status_code == 303, typed


def test_the_complete_uri_shows_the_code_and_asks_the_user_to_compare_it(tv: Device) -> None:
    """§3.3.1: the user must confirm the code."""
    codes = tv.obtain_codes()
    page = tv.user.get(codes["verification_uri_complete"].removeprefix(ISSUER))

    assert page.status_code == 200
    assert codes["user_code"] in page.text
    assert "Does your device show this code?" in page.text
    assert status_and_error(tv.poll(codes["device_code"]))[1] == "authorization_pending"


def test_the_consent_page_shows_app_code_and_scope_and_a_warning(tv: Device) -> None:
    """§5.4: remote phishing."""
    codes = tv.obtain_codes()
    page = tv.user.get(tv.enter_code(codes["user_code"]).location)

    for text in ("Television", codes["user_code"], "See your name and picture", "Is this your device?"):
        assert text in page.text


def test_consent_is_required_even_if_the_app_was_allowed_before(tv: Device) -> None:
    """§5.4."""
    tv.decide(tv.obtain_codes()["user_code"])
    second = tv.obtain_codes()

    assert tv.user.get(tv.enter_code(second["user_code"]).location).status_code == 200
    assert status_and_error(tv.poll(second["device_code"]))[1] == "authorization_pending"


def test_a_user_can_enter_ten_wrong_codes_and_then_must_wait(tv: Device, clock: Clock) -> None:
    """§5.1, §5.2."""
    correct = tv.obtain_codes()["user_code"]
    statuses = [tv.enter_code("BBBB-BBBB").status_code for _ in range(11)]

    assert statuses == [400] * 10 + [429]
    assert tv.enter_code(correct).status_code == 429
    clock.forward(60)
    assert tv.enter_code(correct).status_code == 303


def test_correct_codes_do_not_count_towards_the_limit(tv: Device) -> None:
    """§5.1."""
    for _ in range(12):
        assert tv.enter_code(tv.obtain_codes()["user_code"]).status_code == 303


def test_a_code_that_is_entered_again_and_again_does_not_fill_the_table(tv: Device, runtime: Runtime) -> None:
    code = tv.obtain_codes()["user_code"]

    pages = [tv.enter_code(code).location for _ in range(25)]

    assert count_rows(runtime.store, "valetkey_interactions") == 20
    assert tv.user.get(pages[-1]).status_code == 200


def test_accounts_at_one_address_share_a_limit_of_wrong_codes(tv: Device, app: Flask, runtime: Runtime) -> None:
    """§5.1."""
    statuses = []
    for number in range(4):
        browser = Browser(app.test_client(), tv.machine.client)
        device = Device(tv.machine, sign_in_new_account(browser, runtime, f"p{number}@example.org", f"p{number}"))
        statuses += [device.enter_code("BBBB-BBBB").status_code for _ in range(9)]
    assert statuses.count(400) == 30


def test_only_the_browser_and_sign_in_that_entered_the_code_can_approve_it(
    tv: Device, app: Flask, runtime: Runtime
) -> None:
    """§5.3, §5.4: neither another user nor another browser."""
    entered = tv.enter_code(tv.obtain_codes()["user_code"])
    other = Browser(app.test_client(), tv.machine.client)
    sign_in_new_account(other, runtime, "eve@example.org", "Eve")

    with assert_store_unchanged(runtime):
        refused = other.submit(entered.location, {"decision": "allow", "scope": ["profile"]}, page_path="/device")
    assert refused.status_code == 400


def test_a_link_to_the_consent_page_does_not_open_in_another_browser(tv: Device, app: Flask) -> None:
    """§5.4: even with the same sign-in."""
    entered = tv.enter_code(tv.obtain_codes()["user_code"])
    other = Browser(app.test_client(), tv.machine.client)
    other.http.set_cookie("valetkey_session", tv.user.http.get_cookie("valetkey_session").value)

    refused = other.get(entered.location)
    assert refused.status_code == 400
    assert "in another browser" in refused.text


def test_another_sign_in_in_the_same_browser_cannot_approve_the_code(tv: Device, runtime: Runtime) -> None:
    """§5.3."""
    entered = tv.enter_code(tv.obtain_codes()["user_code"])
    cookie = tv.user.http.get_cookie("valetkey_browser")
    sign_in_new_account(tv.user, runtime, "eve@example.org", "Eve")
    tv.user.http.set_cookie("valetkey_browser", cookie.value)

    with assert_store_unchanged(runtime):
        refused = tv.user.submit(entered.location, {"decision": "allow", "scope": ["profile"]}, page_path="/device")
    assert refused.status_code == 400
    assert "in an earlier sign-in" in refused.text


def test_another_site_cannot_submit_the_forms(tv: Device, runtime: Runtime) -> None:
    """§5.4, RFC 6749 §10.12."""
    code = tv.obtain_codes()["user_code"]
    entered = tv.enter_code(code)

    with assert_store_unchanged(runtime):
        forged = tv.user.http.post("/device", data={"user_code": code})
        assert forged.status_code == 400
        forged = tv.user.http.post(entered.location, data={"decision": "allow", "scope": "profile"})
        assert forged.status_code == 400


def test_a_request_can_be_decided_once(tv: Device, runtime: Runtime) -> None:
    """§3.3."""
    codes = tv.obtain_codes()
    first, second = tv.enter_code(codes["user_code"]), tv.enter_code(codes["user_code"])
    tv.user.submit(first.location, {"decision": "deny"})

    assert tv.user.get(second.location).status_code == 400
    with assert_store_unchanged(runtime):
        late = tv.user.submit(second.location, {"decision": "allow", "scope": ["profile"]}, page_path="/device")
    assert late.status_code == 400
    assert status_and_error(tv.poll(codes["device_code"]))[1] == "access_denied"


def test_device_requests_and_authorization_requests_do_not_open_on_each_others_page(tv: Device) -> None:
    """The ids of the two kinds of pending requests are not interchangeable."""
    entered = tv.enter_code(tv.obtain_codes()["user_code"])
    device_request = entered.location.rsplit("/", 1)[1]

    assert tv.user.get(f"/oauth/consent/{device_request}").status_code == 400
    authorization_request = tv.user.authorize(scope="profile").location.rsplit("/", 1)[1]
    assert tv.user.get(f"/device/{authorization_request}").status_code == 400


def test_only_the_digest_of_the_device_code_is_stored(tv: Device, tmp_path: Any) -> None:
    """§5.2: the device code itself is in no file of the database."""
    code = tv.obtain_codes()["device_code"]

    assert code.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_without_a_device_path_the_grant_is_neither_served_nor_advertised(
    make_app: MakeApp, sqlite_store_url: str
) -> None:
    """RFC 8414 §2: only what works is advertised."""
    app = make_app(sqlite_store_url, device_path=None, registration_policy="open")
    client = register_client(
        app.extensions["valetkey"],
        app.extensions["valetkey"].clock(),
        name="TV",
        policy="native",
        redirect_uris=["http://127.0.0.1/back"],
    )
    tv = Browser(app.test_client(), client)

    metadata = tv.get("/.well-known/oauth-authorization-server").json
    assert "device_authorization_endpoint" not in metadata
    assert DEVICE_CODE_GRANT_TYPE not in metadata["grant_types_supported"]
    assert tv.post("/oauth/device", scope="profile").status_code == 400
    assert tv.get("/device").status_code == 404
    refused = tv.http.post("/oauth/register", json={"client_name": "TV", "grant_types": [DEVICE_CODE_GRANT_TYPE]})
    assert (refused.status_code, refused.json["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize("auth_method", ["client_secret_basic", "none"])
def test_a_client_that_registered_for_devices_can_still_register_and_change_without_a_device_path(
    make_app: MakeApp, sqlite_store_url: str, auth_method: str
) -> None:
    """RFC 7591 §3.2.1: a grant type that the server does not support is left out of the registration."""
    sent = {
        "redirect_uris": ["https://shop.example/back" if auth_method != "none" else "http://127.0.0.1/back"],
        "token_endpoint_auth_method": auth_method,
        "grant_types": ["authorization_code", DEVICE_CODE_GRANT_TYPE],
    }
    with_devices = make_app(sqlite_store_url, registration_policy="open").test_client()
    without = make_app(sqlite_store_url, device_path=None, registration_policy="open").test_client()
    registered = with_devices.post("/oauth/register", json=sent).json
    assert registered["grant_types"] == sent["grant_types"]

    created = without.post("/oauth/register", json=sent)
    document = {"client_id": registered["client_id"], **sent}
    changed = call_configuration_endpoint(without, registered, "PUT", json=document)

    assert [response.status_code for response in (created, changed)] == [201, 200]
    assert created.json["grant_types"] == changed.json["grant_types"] == ["authorization_code"]


def test_device_authorization_requests_are_limited_by_address(make_app: MakeApp, sqlite_store_url: str) -> None:
    """§5.2: requests must not fill the database."""
    app = make_app(sqlite_store_url, device_authorization_limit="2/minute burst 2")
    client = register_client(
        app.extensions["valetkey"],
        app.extensions["valetkey"].clock(),
        name="TV",
        policy="native",
        redirect_uris=["http://127.0.0.1/back"],
    )
    tv = Browser(app.test_client(), client)

    assert [tv.post("/oauth/device", scope="profile").status_code for _ in range(3)] == [200, 200, 429]
