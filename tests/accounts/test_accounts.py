"""Signing up, in and out (RFC 9700 §4.2.4, §4.7, §4.11.2, §4.12, §4.16)."""

from __future__ import annotations

import re
from io import BytesIO

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import MakeApp
from tests.support.browser_client import EMAIL, PASSWORD, Browser, Clock, assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.protocol.secret import SESSION, generate_secret
from valetkey.runtime import Runtime

NOBODY = CreatedClient("none", None)


def cookie(response: TestResponse, name: str) -> str | None:
    found = [one for one in response.headers.getlist("Set-Cookie") if one.startswith(f"{name}=")]
    return found[0] if found else None


@pytest.fixture
def visitor(app: Flask) -> Browser:
    """A browser that has never been here."""
    return Browser(app.test_client(), NOBODY)


def another(browser: Browser) -> Browser:
    return Browser(browser.http.application.test_client(), NOBODY)


def test_a_person_signs_up_and_is_signed_in(visitor: Browser) -> None:
    made = visitor.sign_up()

    assert (made.status_code, made.location) == (303, "/account")
    page = visitor.get("/account")
    assert page.status_code == 200
    assert EMAIL in page.text


def test_a_person_signs_out_and_in_again(visitor: Browser, runtime: Runtime) -> None:
    visitor.sign_up()

    out = visitor.submit("/account/sign-out", {}, page_path="/account")
    assert out.status_code == 303
    assert visitor.get("/account").status_code == 303

    assert visitor.sign_in().status_code == 303
    assert visitor.sign_in(email=EMAIL.upper()).status_code == 303
    assert visitor.get("/account").status_code == 200


def test_signing_out_ends_the_session_on_the_server(visitor: Browser) -> None:
    visitor.sign_up()
    stolen = visitor.http.get_cookie("valetkey_session")
    assert stolen
    visitor.submit("/account/sign-out", {}, page_path="/account")
    thief = another(visitor)
    thief.http.set_cookie("valetkey_session", stolen.value)

    assert thief.get("/account").status_code == 303


def test_a_wrong_password_and_an_unknown_address_look_alike(visitor: Browser, runtime: Runtime) -> None:
    visitor.sign_up()
    stranger = another(visitor)
    with assert_store_unchanged(runtime):
        wrong = stranger.sign_in(password="not this one")
        unknown = stranger.sign_in(email="nobody@example.org")

    assert (wrong.status_code, unknown.status_code) == (400, 400)
    told = [re.findall(r'role="alert">([^<]+)', page.text) for page in (wrong, unknown)]
    assert told[0] == told[1] == ["The e-mail address or the password is wrong."]
    assert cookie(wrong, "valetkey_session") is None
    assert "not this one" not in wrong.text


def test_an_address_has_one_account(visitor: Browser, runtime: Runtime) -> None:
    visitor.sign_up()
    with assert_store_unchanged(runtime):
        again = another(visitor).sign_up(password="another good one")

    assert again.status_code == 400


COMMON = ("Password123!", "1234567890", "qwertyuiop", "0987654321", "1q2w3e4r5t", "abcd1234abcd1234", "iloveyou2024")


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaa", EMAIL, "x" * 201, *COMMON])
def test_a_weak_password_is_refused(visitor: Browser, runtime: Runtime, password: str) -> None:
    with assert_store_unchanged(runtime):
        assert visitor.sign_up(password=password).status_code == 400


@pytest.mark.parametrize(
    "email",
    [
        *("", "ada", "@example.org", "ada@", "ada@host", "a b@example.org", "a" * 251 + "@b.c"),
        *("ada@example.org,eve@example.org", "<ada@example.org>", "(eve)ada@example.org", '"a@b"@example.org'),
        *(".ada@example.org", "ada@example..org", "ada@[127.0.0.1]", "ada:eve@example.org;"),
    ],
)
def test_what_is_no_address_is_refused(visitor: Browser, runtime: Runtime, email: str) -> None:
    with assert_store_unchanged(runtime):
        assert visitor.sign_up(email=email).status_code == 400


@pytest.mark.parametrize("path", ["/account/sign-in", "/account/sign-up"])
@pytest.mark.parametrize("field", ["email", "password", "name", "next", "csrf_token"])
@pytest.mark.parametrize("value", ["a\0b@example.org", "x" * 100_000, "\ud7ff\U0010ffff"], ids=["NUL", "huge", "odd"])
def test_hostile_fields_are_refused_without_an_error_of_ours(
    visitor: Browser, runtime: Runtime, path: str, field: str, value: str
) -> None:
    sent = {"name": "Ada", "email": EMAIL, "password": PASSWORD, field: value}
    with assert_store_unchanged(runtime):
        if path.endswith("up") and field == "next":
            path = "/account/sign-in"
        refused = visitor.submit(path, {**sent, "password": "nobody's" if field != "password" else value})

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
def test_a_form_larger_than_any_of_ours_is_not_read(visitor: Browser, path: str) -> None:
    file = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + b"x" * 70_000 + b"\r\n--b--\r\n"
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    for refused in (
        visitor.http.post(path, data=b"a=" + b"x" * 70_000, content_type="application/x-www-form-urlencoded"),
        visitor.http.post(path, data=file, content_type="multipart/form-data; boundary=b"),
        visitor.http.post(path, input_stream=BytesIO(b"a=1"), environ_overrides=chunked),
    ):
        assert refused.status_code == 413
        assert refused.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/account/sign-in", "/account/sign-up"])
@pytest.mark.parametrize("token", ["", "x" * 64])
def test_a_form_of_another_site_is_refused(visitor: Browser, runtime: Runtime, path: str, token: str) -> None:
    data = {"name": "Eve", "email": "eve@example.org", "password": PASSWORD, "csrf_token": token}
    visitor.get(path)
    with assert_store_unchanged(runtime):
        refused = visitor.http.post(path, data=data)

    assert refused.status_code == 400
    assert cookie(refused, "valetkey_session") is None


def test_a_token_of_another_browser_is_worth_nothing(visitor: Browser) -> None:
    """Signing a victim in to the attacker's account."""
    visitor.sign_up()
    page = another(visitor).get("/account/sign-in").text
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert token

    victim = another(visitor)
    victim.get("/account/sign-in")
    sent = {"email": EMAIL, "password": PASSWORD, "csrf_token": token[1]}

    assert victim.http.post("/account/sign-in", data=sent).status_code == 400


@pytest.mark.parametrize("path", ["/account/sign-out", "/account/revoke?client_id=x"])
def test_signing_out_and_revoking_need_our_own_form(visitor: Browser, path: str) -> None:
    visitor.sign_up()

    assert visitor.http.post(path).status_code == 400
    assert visitor.get("/account").status_code == 200


def test_a_session_that_an_attacker_planted_is_not_the_one_that_is_signed_in(visitor: Browser) -> None:
    """Session fixation."""
    visitor.sign_up()
    victim, planted = another(visitor), generate_secret(SESSION).reveal()
    victim.http.set_cookie("valetkey_session", planted)

    victim.sign_in()

    mine = victim.http.get_cookie("valetkey_session")
    assert mine and mine.value != planted
    attacker = another(visitor)
    attacker.http.set_cookie("valetkey_session", planted)
    assert attacker.get("/account").status_code == 303


def test_each_sign_in_is_a_new_session_and_its_forms_are_its_own(visitor: Browser) -> None:
    visitor.sign_up()
    first = visitor.http.get_cookie("valetkey_session")
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', visitor.get("/account").text)
    visitor.sign_in()
    second = visitor.http.get_cookie("valetkey_session")
    assert first and second and token
    assert first.value != second.value

    assert visitor.http.post("/account/sign-out", data={"csrf_token": token[1]}).status_code == 400


def test_cookies_are_http_only_and_lax(visitor: Browser) -> None:
    page = visitor.get("/account/sign-in")
    made = visitor.sign_up()

    for sent in (cookie(page, "valetkey_browser"), cookie(made, "valetkey_session")):
        assert sent
        assert "HttpOnly" in sent and "SameSite=Lax" in sent and "Path=/" in sent
        assert "Domain" not in sent


def test_off_loopback_cookies_are_of_this_host_alone(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, issuer="https://id.example")

    page = app.test_client().get("/account/sign-in")

    sent = cookie(page, "__Host-valetkey_browser")
    assert sent and "Secure" in sent
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
def test_next_leads_nowhere_else(visitor: Browser, target: str) -> None:
    visitor.sign_up()

    signed_in = visitor.sign_in(next=target)

    assert (signed_in.status_code, signed_in.location) == (303, "/account")
    page = visitor.get("/account/sign-in", query_string={"next": target})
    assert 'href="javascript' not in page.text
    assert not re.search(r'(href|action)="(https?:)?//evil', page.text)


def test_next_leads_back_to_a_page_of_ours(visitor: Browser) -> None:
    assert visitor.sign_up(next="/oauth/consent/vk_in_x?a=b").location == "/oauth/consent/vk_in_x?a=b"


def test_guesses_are_limited_and_the_sentence_says_how_long(make_app: MakeApp, store_url: str, clock: Clock) -> None:
    app = make_app(store_url, sign_in_limit="3/600s burst 3")
    owner = Browser(app.test_client(), NOBODY)
    owner.sign_up()
    guesser = another(owner)

    guesses = [guesser.sign_in(password=f"guess number {n}") for n in range(5)]

    assert [guess.status_code for guess in guesses] == [400, 400, 400, 429, 429]
    assert "Please wait 3 minutes" in guesses[3].text
    assert guesser.sign_in().status_code == 429, "the right password does not help who guessed too often"
    clock.forward(seconds=201)
    assert guesser.sign_in().status_code == 303


def test_a_right_password_is_not_counted(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, sign_in_limit="2/600s burst 2")
    browser = Browser(app.test_client(), NOBODY)
    browser.sign_up()

    assert [browser.sign_in().status_code for _ in range(4)] == [303] * 4


def test_guesses_from_everywhere_cannot_lock_out_a_browser_that_is_known(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, sign_in_account_limit="5/hour burst 5")
    owner = Browser(app.test_client(), NOBODY)
    owner.sign_up()
    owner.submit("/account/sign-out", {}, page_path="/account")

    def guess(n: int) -> int:
        guesser = another(owner)
        guesser.http.environ_base["REMOTE_ADDR"] = f"192.0.2.{n}"
        return guesser.sign_in(password="guess").status_code

    assert [guess(n) for n in range(7)] == [400] * 5 + [429] * 2
    assert owner.sign_in().status_code == 303


@pytest.mark.parametrize("limit", ["sign_in_limit", "sign_in_address_limit"])
def test_guesses_from_behind_the_same_address_cannot_lock_it_out_either(
    make_app: MakeApp, store_url: str, limit: str
) -> None:
    owner = Browser(make_app(store_url, **{limit: "3/hour burst 3"}).test_client(), NOBODY)
    owner.sign_up()
    owner.submit("/account/sign-out", {}, page_path="/account")
    neighbour = another(owner)

    assert [neighbour.sign_in(password="guess").status_code for _ in range(4)] == [400, 400, 400, 429]
    assert owner.sign_in().status_code == 303


def test_a_browser_that_is_known_may_not_guess_for_ever(make_app: MakeApp, store_url: str) -> None:
    owner = Browser(make_app(store_url, sign_in_limit="3/hour burst 3").test_client(), NOBODY)
    owner.sign_up()
    owner.submit("/account/sign-out", {}, page_path="/account")

    assert [owner.sign_in(password="guess").status_code for _ in range(4)] == [400, 400, 400, 429]


def test_accounts_made_from_one_network_are_limited(make_app: MakeApp, store_url: str) -> None:
    app = make_app(store_url, sign_up_limit="2/hour burst 2")
    browser = Browser(app.test_client(), NOBODY)

    statuses = [browser.sign_up(email=f"a{n}@example.org").status_code for n in range(3)]

    assert statuses == [303, 303, 429]
    assert count_rows(app.extensions["valetkey"].store, "valetkey_accounts") == 2


def test_where_nobody_may_sign_up_there_is_no_page_for_it(make_app: MakeApp, sqlite_store_url: str) -> None:
    http = make_app(sqlite_store_url, sign_up=False).test_client()

    refused = http.get("/account/sign-up")

    assert refused.status_code == 404
    assert refused.headers["X-Frame-Options"] == "DENY"
    assert "sign-up" not in http.get("/account/sign-in").text


def test_a_session_ends_with_its_lifetime(visitor: Browser, clock: Clock) -> None:
    visitor.sign_up()
    clock.forward(seconds=14 * 86400)

    assert visitor.get("/account").status_code == 303


def test_a_context_that_is_held_open_mixes_no_two_visitors_up(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url)
    with app.app_context():  # as a host's own tests may
        visitor = Browser(app.test_client(), NOBODY)
        assert visitor.get("/account").status_code == 303
        visitor.sign_up()
        assert visitor.get("/account").status_code == 200
        assert another(visitor).get("/account").status_code == 303
        visitor.submit("/account/sign-out", {}, page_path="/account")
        assert visitor.get("/account").status_code == 303
