"""Sign-up, sign-in and sign-out with built-in accounts (RFC 9700 §4.2.4, §4.7, §4.11.2, §4.12, §4.16)."""

from __future__ import annotations

import re
from io import BytesIO

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.app import MakeApp
from tests.support.browser_client import EMAIL, Browser
from tests.support.clock import Clock
from tests.support.store_assertions import assert_store_unchanged, count_rows
from tests.support.user import PASSWORD
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.protocol.secret import SESSION, generate_secret
from valetkey.runtime import Runtime

NO_CLIENT = CreatedClient("none", None)


def find_cookie(response: TestResponse, name: str) -> str | None:
    cookies = [header for header in response.headers.getlist("Set-Cookie") if header.startswith(f"{name}=")]
    return cookies[0] if cookies else None


@pytest.fixture
def browser(app: Flask) -> Browser:
    """A browser without cookies."""
    return Browser(app.test_client(), NO_CLIENT)


def new_browser(browser: Browser) -> Browser:
    """Return another browser, without cookies, of the same app."""
    return Browser(browser.http.application.test_client(), NO_CLIENT)


def test_a_user_is_signed_in_after_sign_up(browser: Browser) -> None:
    signed_up = browser.sign_up()

    assert (signed_up.status_code, signed_up.location) == (303, "/account")
    page = browser.get("/account")
    assert page.status_code == 200
    assert EMAIL in page.text


def test_a_user_can_sign_out_and_in_again_and_the_case_of_the_address_does_not_matter(
    browser: Browser, runtime: Runtime
) -> None:
    browser.sign_up()

    signed_out = browser.submit("/account/sign-out", {}, page_path="/account")
    assert signed_out.status_code == 303
    assert browser.get("/account").status_code == 303

    assert browser.sign_in().status_code == 303
    assert browser.sign_in(email=EMAIL.upper()).status_code == 303
    assert browser.get("/account").status_code == 200


def test_a_copied_session_cookie_is_worthless_after_sign_out(browser: Browser) -> None:
    browser.sign_up()
    stolen = browser.http.get_cookie("valetkey_session")
    assert stolen
    browser.submit("/account/sign-out", {}, page_path="/account")
    thief = new_browser(browser)
    thief.http.set_cookie("valetkey_session", stolen.value)

    assert thief.get("/account").status_code == 303


def test_a_wrong_password_and_an_unknown_address_get_the_same_response(browser: Browser, runtime: Runtime) -> None:
    browser.sign_up()
    stranger = new_browser(browser)
    with assert_store_unchanged(runtime):
        wrong = stranger.sign_in(password="not this one")
        unknown = stranger.sign_in(email="unknown@example.org")

    assert (wrong.status_code, unknown.status_code) == (400, 400)
    alerts = [re.findall(r'role="alert">([^<]+)', page.text) for page in (wrong, unknown)]
    assert alerts[0] == alerts[1] == ["The e-mail address or the password is wrong."]
    assert find_cookie(wrong, "valetkey_session") is None
    assert "not this one" not in wrong.text


def test_a_second_account_with_the_same_address_is_refused(browser: Browser, runtime: Runtime) -> None:
    browser.sign_up()
    with assert_store_unchanged(runtime):
        again = new_browser(browser).sign_up(password="another good one")

    assert again.status_code == 400


COMMON = ("Password123!", "1234567890", "qwertyuiop", "0987654321", "1q2w3e4r5t", "abcd1234abcd1234", "iloveyou2024")


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaa", EMAIL, "x" * 201, *COMMON])
def test_a_weak_password_is_refused(browser: Browser, runtime: Runtime, password: str) -> None:
    with assert_store_unchanged(runtime):
        assert browser.sign_up(password=password).status_code == 400


@pytest.mark.parametrize(
    "email",
    [
        *("", "ada", "@example.org", "ada@", "ada@host", "a b@example.org", "a" * 251 + "@b.c"),
        *("ada@example.org,eve@example.org", "<ada@example.org>", "(eve)ada@example.org", '"a@b"@example.org'),
        *(".ada@example.org", "ada@example..org", "ada@[127.0.0.1]", "ada:eve@example.org;"),
    ],
)
def test_a_sign_up_without_a_valid_email_address_is_refused(browser: Browser, runtime: Runtime, email: str) -> None:
    with assert_store_unchanged(runtime):
        assert browser.sign_up(email=email).status_code == 400


@pytest.mark.parametrize("path", ["/account/sign-in", "/account/sign-up"])
@pytest.mark.parametrize("field", ["email", "password", "name", "next", "csrf_token"])
@pytest.mark.parametrize(
    "value", ["a\0b@example.org", "x" * 100_000, "\ud7ff\U0010ffff"], ids=["NUL", "huge", "rare code points"]
)
def test_hostile_form_fields_are_refused_without_a_server_error(
    browser: Browser, runtime: Runtime, path: str, field: str, value: str
) -> None:
    fields = {"name": "Ada", "email": EMAIL, "password": PASSWORD, field: value}
    with assert_store_unchanged(runtime):
        if path.endswith("up") and field == "next":
            path = "/account/sign-in"
        refused = browser.submit(path, {**fields, "password": "wrong" if field != "password" else value})

    assert refused.status_code in {400, 413}
    assert refused.headers["X-Frame-Options"] == "DENY"


FORM_PAGES = (
    "/account/sign-in",
    "/account/revoke",
    "/account/password",
    "/account/tokens/new",
    "/device",
    "/oauth/logout",
)


@pytest.mark.parametrize("path", [*FORM_PAGES, "/oauth/consent/x"])
def test_an_oversized_or_chunked_form_is_refused_unread(browser: Browser, path: str) -> None:
    multipart = (
        b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + b"x" * 70_000 + b"\r\n--b--\r\n"
    )
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    for refused in (
        browser.http.post(path, data=b"a=" + b"x" * 70_000, content_type="application/x-www-form-urlencoded"),
        browser.http.post(path, data=multipart, content_type="multipart/form-data; boundary=b"),
        browser.http.post(path, input_stream=BytesIO(b"a=1"), environ_overrides=chunked),
    ):
        assert refused.status_code == 413
        assert refused.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/account/sign-in", "/account/sign-up"])
@pytest.mark.parametrize("token", ["", "x" * 64], ids=["no token", "wrong token"])
def test_a_form_without_a_valid_csrf_token_is_refused(
    browser: Browser, runtime: Runtime, path: str, token: str
) -> None:
    data = {"name": "Eve", "email": "eve@example.org", "password": PASSWORD, "csrf_token": token}
    browser.get(path)
    with assert_store_unchanged(runtime):
        refused = browser.http.post(path, data=data)

    assert refused.status_code == 400
    assert find_cookie(refused, "valetkey_session") is None


def test_a_csrf_token_of_another_browser_is_refused(browser: Browser) -> None:
    """Otherwise an attacker could sign a victim in to the attacker's account (login CSRF)."""
    browser.sign_up()
    page = new_browser(browser).get("/account/sign-in").text
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert token

    victim = new_browser(browser)
    victim.get("/account/sign-in")
    data = {"email": EMAIL, "password": PASSWORD, "csrf_token": token[1]}

    assert victim.http.post("/account/sign-in", data=data).status_code == 400


@pytest.mark.parametrize("path", ["/account/sign-out", "/account/revoke?client_id=x"])
def test_sign_out_and_revocation_need_a_csrf_token(browser: Browser, path: str) -> None:
    browser.sign_up()

    assert browser.http.post(path).status_code == 400
    assert browser.get("/account").status_code == 200


def test_a_session_cookie_that_an_attacker_planted_is_replaced_at_sign_in(browser: Browser) -> None:
    """Session fixation."""
    browser.sign_up()
    victim, planted = new_browser(browser), generate_secret(SESSION).reveal()
    victim.http.set_cookie("valetkey_session", planted)

    victim.sign_in()

    own = victim.http.get_cookie("valetkey_session")
    assert own and own.value != planted
    attacker = new_browser(browser)
    attacker.http.set_cookie("valetkey_session", planted)
    assert attacker.get("/account").status_code == 303


def test_each_sign_in_starts_a_new_session_with_new_csrf_tokens(browser: Browser) -> None:
    browser.sign_up()
    first = browser.http.get_cookie("valetkey_session")
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', browser.get("/account").text)
    browser.sign_in()
    second = browser.http.get_cookie("valetkey_session")
    assert first and second and token
    assert first.value != second.value

    assert browser.http.post("/account/sign-out", data={"csrf_token": token[1]}).status_code == 400


def test_cookies_are_http_only_same_site_lax_and_host_only(browser: Browser) -> None:
    page = browser.get("/account/sign-in")
    signed_up = browser.sign_up()

    for cookie in (find_cookie(page, "valetkey_browser"), find_cookie(signed_up, "valetkey_session")):
        assert cookie
        assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie
        assert "Domain" not in cookie


def test_off_loopback_cookies_have_the_host_prefix_and_hsts_is_sent(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, issuer="https://id.example")

    page = app.test_client().get("/account/sign-in")

    cookie = find_cookie(page, "__Host-valetkey_browser")
    assert cookie and "Secure" in cookie
    assert page.headers["Strict-Transport-Security"].startswith("max-age=")


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "evil.example",
        "http:evil.example",
        " //evil.example",
        "/account\\..\\evil",
    ],
)
def test_next_accepts_local_paths_only(browser: Browser, target: str) -> None:
    browser.sign_up()

    signed_in = browser.sign_in(next=target)

    assert (signed_in.status_code, signed_in.location) == (303, "/account")
    page = browser.get("/account/sign-in", query_string={"next": target})
    assert 'href="javascript' not in page.text
    assert not re.search(r'(href|action)="(https?:)?//evil', page.text)


def test_sign_up_continues_at_the_local_path_in_next(browser: Browser) -> None:
    assert browser.sign_up(next="/oauth/consent/vk_in_x?a=b").location == "/oauth/consent/vk_in_x?a=b"


def test_password_attempts_are_limited_and_the_page_says_how_long_to_wait(
    make_app: MakeApp, store_url: str, clock: Clock
) -> None:
    app = make_app(store_url, sign_in_limit="3/600s burst 3")
    owner = Browser(app.test_client(), NO_CLIENT)
    owner.sign_up()
    guesser = new_browser(owner)

    guesses = [guesser.sign_in(password=f"guess number {n}") for n in range(5)]

    assert [guess.status_code for guess in guesses] == [400, 400, 400, 429, 429]
    assert "Please wait 4 minutes" in guesses[3].text
    assert guesses[3].headers["Retry-After"] == "200"
    assert guesser.sign_in().status_code == 429, "after too many attempts the right password is refused too"
    clock.forward(seconds=201)
    assert guesser.sign_in().status_code == 303


def test_a_sign_in_with_the_right_password_does_not_count_as_an_attempt(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, sign_in_limit="2/600s burst 2")
    browser = Browser(app.test_client(), NO_CLIENT)
    browser.sign_up()

    assert [browser.sign_in().status_code for _ in range(4)] == [303] * 4


def test_attempts_from_many_addresses_do_not_lock_out_a_browser_that_signed_in_before(
    make_app: MakeApp, store_url: str
) -> None:
    app = make_app(store_url, sign_in_account_limit="5/hour burst 5")
    owner = Browser(app.test_client(), NO_CLIENT)
    owner.sign_up()
    owner.submit("/account/sign-out", {}, page_path="/account")

    def guess_from_address(n: int) -> int:
        guesser = new_browser(owner)
        guesser.http.environ_base["REMOTE_ADDR"] = f"192.0.2.{n}"
        return guesser.sign_in(password="guess").status_code

    assert [guess_from_address(n) for n in range(7)] == [400] * 5 + [429] * 2
    assert owner.sign_in().status_code == 303


@pytest.mark.parametrize("limit", ["sign_in_limit", "sign_in_address_limit"])
def test_attempts_from_the_same_address_do_not_lock_out_a_browser_that_signed_in_before(
    make_app: MakeApp, store_url: str, limit: str
) -> None:
    owner = Browser(make_app(store_url, **{limit: "3/hour burst 3"}).test_client(), NO_CLIENT)
    owner.sign_up()
    owner.submit("/account/sign-out", {}, page_path="/account")
    neighbour = new_browser(owner)

    assert [neighbour.sign_in(password="guess").status_code for _ in range(4)] == [400, 400, 400, 429]
    assert owner.sign_in().status_code == 303


def test_attempts_from_a_browser_that_signed_in_before_are_limited(make_app: MakeApp, store_url: str) -> None:
    owner = Browser(make_app(store_url, sign_in_limit="3/hour burst 3").test_client(), NO_CLIENT)
    owner.sign_up()
    owner.submit("/account/sign-out", {}, page_path="/account")

    assert [owner.sign_in(password="guess").status_code for _ in range(4)] == [400, 400, 400, 429]


def test_sign_ups_from_one_network_are_limited(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, sign_up_limit="2/hour burst 2")
    browser = Browser(app.test_client(), NO_CLIENT)

    statuses = [browser.sign_up(email=f"a{n}@example.org").status_code for n in range(3)]

    assert statuses == [303, 303, 429]
    assert count_rows(app.extensions["valetkey"].store, "valetkey_accounts") == 2


def test_with_sign_up_disabled_there_is_no_sign_up_page(make_app: MakeApp, sqlite_store_url: str) -> None:
    http = make_app(sqlite_store_url, sign_up=False).test_client()

    refused = http.get("/account/sign-up")

    assert refused.status_code == 404
    assert refused.headers["X-Frame-Options"] == "DENY"
    assert "sign-up" not in http.get("/account/sign-in").text


def test_a_session_expires_after_its_lifetime(browser: Browser, clock: Clock) -> None:
    browser.sign_up()
    clock.forward(seconds=14 * 86400)

    assert browser.get("/account").status_code == 303


def test_two_browsers_are_not_confused_within_one_open_app_context(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    with app.app_context():  # as a host's own tests may do
        browser = Browser(app.test_client(), NO_CLIENT)
        assert browser.get("/account").status_code == 303
        browser.sign_up()
        assert browser.get("/account").status_code == 200
        assert new_browser(browser).get("/account").status_code == 303
        browser.submit("/account/sign-out", {}, page_path="/account")
        assert browser.get("/account").status_code == 303
