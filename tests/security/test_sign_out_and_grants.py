"""Signing out ends the access of apps that are informed of it; the pages name them, and those that keep access."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.app import Register
from tests.support.browser_client import Browser
from valetkey.authorization_server.openid.logout_token import deliver_logout_token
from valetkey.runtime import Runtime
from valetkey.storage import session_grants

BACK = {"backchannel_logout_uri": "https://back.example/out"}
FRONT = {"frontchannel_logout_uri": "https://shop.example/out"}


def obtain_token(ada: Browser, client: Any, *scope: str) -> str:
    """Obtain an access token of a client for Ada, who stays signed in."""
    return str(Browser(ada.http, client).obtain_tokens(scope=scope)["access_token"])


@pytest.fixture
def tokens(ada: Browser, register: Register) -> dict[str, str]:
    """The access token of each app, by the app's name."""
    return {
        "Informed": obtain_token(ada, register(name="Informed", members=BACK), "openid", "profile"),
        "Framed": obtain_token(ada, register(name="Framed", members=FRONT), "openid", "profile"),
        "Silent": obtain_token(ada, register(name="Silent"), "openid", "profile"),
        "Offline": obtain_token(ada, register(name="Offline", members=BACK), "openid", "profile", "offline_access"),
        "Plain": obtain_token(ada, register(name="Plain", members=BACK), "profile"),
    }


def names_after(page: str, sentence: str) -> list[str]:
    paragraph = page.partition(sentence)[2].partition("</p>")[0]
    return [part.partition("</bdi>")[0] for part in paragraph.split("<bdi>")[1:]]


def test_the_pages_name_the_apps_that_lose_their_access_and_those_that_keep_it(
    ada: Browser, tokens: dict[str, str]
) -> None:
    confirmation = ada.get("/oauth/logout").text
    signed_out = ada.submit("/oauth/logout/confirm", {"decision": "log-out"}, page_path="/oauth/logout").text

    kept = ["Offline", "Plain", "Silent"]
    assert names_after(confirmation, "These apps are notified and lose their access:") == ["Framed", "Informed"]
    assert names_after(confirmation, "These apps keep their access until you remove them:") == kept
    assert names_after(signed_out, "These apps lost their access:") == ["Framed", "Informed"]
    assert names_after(signed_out, "keep their access until you remove them in your account:") == kept


def test_access_ends_as_the_page_says(ada: Browser, tokens: dict[str, str]) -> None:
    ada.submit("/oauth/logout/confirm", {"decision": "log-out"}, page_path="/oauth/logout")

    statuses = {name: ada.call(token).status_code for name, token in tokens.items()}
    assert statuses == {"Informed": 401, "Framed": 401, "Silent": 200, "Offline": 200, "Plain": 200}


def test_nothing_is_named_if_no_app_has_access(ada: Browser) -> None:
    assert "their access" not in ada.get("/oauth/logout").text


def test_an_app_whose_metadata_document_is_fetched_after_the_sign_out_loses_its_access(
    ada: Browser, register: Register, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = register(name="Document", members=BACK)
    token = obtain_token(ada, client, "openid", "profile")
    owner = ada.call(token).json["user"]
    ((_, sid),) = session_grants.list_client_sessions(runtime.store, owner)
    with monkeypatch.context() as patch:  # as after a restart: the document is not cached
        patch.setattr(runtime.clients, "find_cached", lambda *_: None)
        patch.setattr(runtime.clients, "uses_metadata_document", lambda *_: True)
        ada.submit("/oauth/logout/confirm", {"decision": "log-out"}, page_path="/oauth/logout")
    assert ada.call(token).status_code == 200

    monkeypatch.setattr(runtime.fetcher, "post_form", lambda *_, **__: SimpleNamespace(status=200))
    deliver_logout_token(runtime, {"client_id": client.client_id, "owner": owner, "sid": sid}, runtime.clock())

    assert ada.call(token).status_code == 401
