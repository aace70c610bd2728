"""Text that was typed on another system: accepted in one normal form, or refused with a sentence that says why.

The same letters can be typed in several ways: with accents as one character or two, with full-width letters of an
Asian keyboard, and with characters that are invisible or look like others.
"""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from tests.support.app import MakeApp
from tests.support.browser_client import Browser
from tests.support.store_assertions import count_rows
from tests.support.user import PASSWORD
from valetkey import Settings, SettingsError
from valetkey.accounts.errors import SignInRefused
from valetkey.accounts.password import hash_password
from valetkey.accounts.sign_up import create_account
from valetkey.authorization_server.clients.service import CreatedClient, RegistrationRefused, register_client
from valetkey.protocol.client_identity import covers_identity, describe_identity
from valetkey.protocol.display_name import display_name_problem, normalize_display_name
from valetkey.protocol.email_address import is_email_address, normalize_email_address
from valetkey.protocol.user_code import find_foreign_letter, parse_user_code
from valetkey.runtime import Runtime
from valetkey.storage import accounts, clients
from valetkey.storage.engine.transaction import Transaction

FULL_WIDTH_ADDRESS = "\uff21\uff44\uff41\uff20\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45\uff0e\uff4f\uff52\uff47"
NFC_NAME, NFD_NAME = "Zo\u00eb Caf\u00e9", "Zoe\u0308 Cafe\u0301"
INVISIBLE_NAMES = ["\u3164", "Ada\u3164", "A\u200bda", "Ada\u202eecila", "Ada\u2066", "Ada\ufe0f", "A\u00adda"]
MIXED_NAMES = ["G\u043e\u043egle", "\u0410da", "Goo\u0338g\u03bfle", "\u13a0pple"]


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, registration_policy="open")


@pytest.fixture
def browser(app: Flask, shop: CreatedClient) -> Browser:
    return Browser(app.test_client(), shop)


@pytest.mark.parametrize(
    "address",
    [FULL_WIDTH_ADDRESS, "ada@example\u3002org", "ada@example\uff61org", "\u3000ADA@Example.ORG\u00a0"],
)
def test_an_address_in_another_form_is_the_same_account(runtime: Runtime, browser: Browser, address: str) -> None:
    sub = create_account(runtime.store, runtime.clock(), name="Ada", email="ada@example.org", password=PASSWORD)

    with pytest.raises(SignInRefused, match="already an account"):
        create_account(runtime.store, runtime.clock(), name="Ada", email=address, password=PASSWORD)

    account = accounts.find_by_email(runtime.store, address)
    assert account is not None
    assert account.sub == sub
    assert browser.sign_in(address).status_code == 303


@pytest.mark.parametrize("address", [FULL_WIDTH_ADDRESS, "ada@example\u3002org"])
def test_an_account_has_the_normal_form_of_the_address(runtime: Runtime, browser: Browser, address: str) -> None:
    assert browser.sign_up(address).status_code == 303

    assert [account.email for account in accounts.list_all(runtime.store)] == ["ada@example.org"]


@pytest.mark.parametrize(
    ("address", "character"),
    [
        ("ada@m\u00fcller.example", "U+00FC (LATIN SMALL LETTER U WITH DIAERESIS)"),
        ("a\u0308da@example.org", "U+0308 (COMBINING DIAERESIS)"),
        ("\u212ada@example.org", "U+212A (KELVIN SIGN)"),  # ``str.lower`` makes it an ASCII letter
        ("ad\u0430@example.org", "U+0430 (CYRILLIC SMALL LETTER A)"),
        ("a\u200bda@example.org", "U+200B (ZERO WIDTH SPACE)"),
        ("ada\u3164@example.org", "U+3164 (HANGUL FILLER)"),
        ("\u202eada@example.org", "U+202E (RIGHT-TO-LEFT OVERRIDE)"),
    ],
)
def test_an_address_that_is_not_ascii_is_refused_and_the_character_is_named(
    runtime: Runtime, browser: Browser, address: str, character: str
) -> None:
    for page in (browser.sign_up(address), browser.sign_in(address)):
        assert page.status_code == 400
        assert f"Yours contains {character}, but only ASCII characters are allowed." in page.text
    assert count_rows(runtime.store, "valetkey_accounts") == 0


@given(st.from_regex(r"[a-z0-9#$&'*+/=?^_`{}~-]{1,9}@([a-z0-9]{1,4}\.){1,2}[a-z]{2,4}", fullmatch=True))
def test_the_normal_form_of_a_stored_address_is_the_address(address: str) -> None:
    """So an account that exists keeps working, whatever is added to the normal form."""
    if is_email_address(address):
        assert normalize_email_address(address) == address


@given(st.text(st.characters(codec="utf-8"), max_size=12))
def test_a_normal_form_is_its_own_normal_form(text: str) -> None:
    address, name = normalize_email_address(text), normalize_display_name(text)
    assert normalize_email_address(address) == address
    assert normalize_display_name(name) == name


def test_an_account_of_an_earlier_version_with_another_address_can_sign_in(runtime: Runtime, browser: Browser) -> None:
    row = accounts.add("old", "\u00e4d\u00e4@example.org", NFD_NAME, hash_password(PASSWORD), runtime.clock())
    assert runtime.store.write(Transaction(row))

    assert browser.sign_in("\u00e4d\u00e4@example.org").status_code == 303
    assert NFD_NAME in browser.get("/account").text


@pytest.mark.parametrize(
    "text", ["\uff37\uff24\uff2a\uff22\uff0d\uff2d\uff2a\uff28\uff34", "wdjb\u200b-mjht", "\u00a0WDJB\u2013MJHT\u202c"]
)
def test_a_user_code_is_accepted_in_full_width_letters_and_with_invisible_characters(text: str) -> None:
    assert parse_user_code(text) == "WDJBMJHT"


@pytest.mark.parametrize(
    ("text", "letter"), [("WDJ\u0412-MJHT", "\u0412"), ("WDJB\u3164MJHT", "\u3164"), ("WDJB-MJH7", None)]
)
def test_a_letter_of_another_keyboard_in_a_user_code_is_found(text: str, letter: str | None) -> None:
    assert parse_user_code(text) is None
    assert find_foreign_letter(text) == letter


def test_the_device_page_names_the_letter_of_another_keyboard(ada: Browser) -> None:
    page = ada.submit("/device", {"user_code": "WDJ\u0412-MJHT"})

    assert page.status_code == 400
    assert "This code contains U+0412 (CYRILLIC CAPITAL LETTER VE). A code has Latin letters only" in page.text


def test_names_of_clients_and_users_have_one_normal_form(runtime: Runtime, browser: Browser) -> None:
    client = register_client(runtime, runtime.clock(), name=f" {NFD_NAME}\u3000", policy="machine")
    sub = create_account(runtime.store, runtime.clock(), name=NFD_NAME, email="zoe@example.org", password=PASSWORD)
    registered = browser.http.post(
        "/oauth/register", json={"client_name": NFD_NAME, "redirect_uris": ["https://app.example/"]}
    )

    stored = clients.find(runtime.store, client.client_id, runtime.clock())
    assert stored is not None
    assert stored.name == NFC_NAME
    account = accounts.find(runtime.store, sub)
    assert account is not None
    assert account.name == NFC_NAME
    assert registered.get_json()["client_name"] == NFC_NAME


def test_a_name_that_was_stored_in_another_form_does_not_ask_for_consent_again() -> None:
    old, new = (describe_identity("shop", "web", {"client_name": name}) for name in (NFD_NAME, NFC_NAME))

    assert old != new
    assert covers_identity(old, new)
    assert not covers_identity(old, json.dumps(json.loads(new) | {"name": "Zoe Cafe"}))


@pytest.mark.parametrize("name", [*INVISIBLE_NAMES, *MIXED_NAMES])
def test_an_invisible_or_mixed_name_is_refused_everywhere(runtime: Runtime, browser: Browser, name: str) -> None:
    problem = display_name_problem(name)
    assert problem
    with pytest.raises(RegistrationRefused, match=re.escape(problem)):
        register_client(runtime, runtime.clock(), name=name, policy="machine")
    before = count_rows(runtime.store, "valetkey_clients")

    registered = browser.http.post(
        "/oauth/register", json={"client_name": name, "redirect_uris": ["https://app.example/"]}
    )
    signed_up = browser.submit("/account/sign-up", {"name": name, "email": "a@example.org", "password": PASSWORD})

    assert (registered.status_code, registered.get_json()["error"]) == (400, "invalid_client_metadata")
    assert registered.get_json()["error_description"].isascii()  # RFC 7591 §3.2.2
    assert signed_up.status_code == 400
    assert f"The name {problem}." in signed_up.text
    assert count_rows(runtime.store, "valetkey_clients") == before
    assert count_rows(runtime.store, "valetkey_accounts") == 0


@pytest.mark.parametrize(
    "name",
    [
        "\u042f\u043d\u0434\u0435\u043a\u0441 Go",
        *("\u00b5Torrent", "\u5e97 Shop", "\ub204\ub9ac Nuri", "O'Brien & S\u00f8n", "I \u2764\ufe0f Flask"),
        *("\u0645\u062a\u062c\u0631", "\u03bb-calculus", unicodedata.normalize("NFD", "\u0439\u043e\u0433")),
    ],
)
def test_a_name_in_any_one_alphabet_is_accepted(name: str) -> None:
    assert display_name_problem(name) is None


def test_the_word_with_letters_of_two_alphabets_is_named() -> None:
    problem = "mixes Cyrillic and Latin letters, which look alike, in the word G\u043eogle"
    assert (display_name_problem("Sign in with G\u043eogle") or "").startswith(problem)


@pytest.mark.parametrize("character", ["\u200b", "\u3164", "\u202e", "\u2066", "\x00"])
def test_invisible_characters_in_texts_of_the_operator_are_refused_at_start(character: str) -> None:
    with pytest.raises(SettingsError, match=rf"the description of 'notes' contains U\+{ord(character):04X}"):
        Settings(scopes={"notes": f"Read your{character} notes"})
    with pytest.raises(SettingsError, match=rf"site_name contains U\+{ord(character):04X}"):
        Settings(site_name=f"Notes{character}")


@pytest.mark.parametrize(
    "text", ["Read\nyour notes", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0646\u062f", "Notes\u00a0\u200e\u05d0"]
)
def test_descriptions_in_any_script_are_accepted(text: str) -> None:
    assert Settings(scopes={"notes": text}).scopes["notes"] == text
