"""OAuth Client ID Metadata Document, draft-ietf-oauth-client-id-metadata-document-03."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count as count_from
from threading import Event
from typing import Any

import pytest
from flask import Flask

from tests.conformance.client_website import ClientWebsite
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, Browser, sign_in_new_account
from tests.support.clock import Clock
from tests.support.private_key_client import EC_KEY, JWKS, PrivateKeyClient
from tests.support.store_assertions import assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.service import (
    CreatedClient,
    disable_client,
    enable_client,
    find_or_create_client,
)
from valetkey.caches.client_metadata_documents import ClientMetadataDocumentCache
from valetkey.outbound.errors import FetchFailed, TooManyFetches
from valetkey.outbound.http import FetchResponse
from valetkey.runtime import Runtime

METADATA = "/.well-known/oauth-authorization-server"
LOOPBACK = "http://127.0.0.1:4321/callback"
PATH = "/client.json"


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str:
    """Use SQLite unless the test is parametrized with a store."""
    return str(request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_store_url"))


PublishDocument = Callable[..., str]


@pytest.fixture
def publish_document(website: ClientWebsite) -> PublishDocument:
    """Publish a client's document on its web site; return its URL, which is the client_id."""

    def put(path: str = PATH, *, status: int = 200, headers: Any = None, **changes: Any) -> str:
        document = {
            "client_id": website.url(path),
            "client_name": "Assistant",
            "client_uri": "https://assistant.example/",
            "redirect_uris": [CALLBACK, LOOPBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
            **changes,
        }
        members = {name: value for name, value in document.items() if value is not None}
        return website.publish(path, members, status, **(headers or {}))

    return put


def set_client_id(browser: Browser, client_id: str) -> Browser:
    """Make the browser's client the public client with this id."""
    browser.client = CreatedClient(client_id, None)
    return browser


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
def test_a_client_with_a_metadata_document_gets_tokens_without_registration(
    ada: Browser, publish_document: PublishDocument, runtime: Runtime
) -> None:
    """§3, §5: from the authorization request to revocation like any other client; no client is stored."""
    set_client_id(ada, publish_document())
    before = count_rows(runtime.store, "valetkey_clients")

    tokens = ada.obtain_tokens()

    assert ada.call(tokens["access_token"]).json == {"user": "ada", "client": ada.client.client_id}
    refreshed = ada.refresh(tokens["refresh_token"])
    assert refreshed.status_code == 200
    assert ada.revoke(refreshed.json["refresh_token"]).status_code == 200
    assert ada.call(refreshed.json["access_token"]).status_code == 401
    assert count_rows(runtime.store, "valetkey_clients") == before


def test_metadata_advertises_the_feature_and_its_authentication_methods(app: Flask) -> None:
    """§7."""
    for path in (METADATA, "/.well-known/openid-configuration"):
        metadata = app.test_client().get(path).json
        assert metadata["client_id_metadata_document_supported"] is True
        assert {"none", "private_key_jwt"} <= set(metadata["token_endpoint_auth_methods_supported"])


def test_the_consent_page_shows_the_client_id_and_the_host_of_the_redirect_uri(
    ada: Browser, publish_document: PublishDocument
) -> None:
    """§6.4: the name alone is not enough, because the client chose it."""
    set_client_id(ada, publish_document())

    page = ada.get(ada.authorize().location)

    assert "shop.example" in page.text
    assert ada.client.client_id in page.text
    assert "Assistant" in page.text


def test_the_consent_page_warns_of_a_loopback_redirect(ada: Browser, publish_document: PublishDocument) -> None:
    """§6.1: any program on the device can use the client_id of this client."""
    set_client_id(ada, publish_document())

    local = ada.get(ada.authorize(redirect_uri=LOOPBACK).location)
    remote = ada.get(ada.authorize().location)

    assert "Did you start this yourself?" in local.text
    assert "Did you start this yourself?" not in remote.text


def test_consent_is_required_each_time_for_a_loopback_redirect(ada: Browser, publish_document: PublishDocument) -> None:
    """RFC 8252 §8.6: the client's identity cannot be assured; an https redirect URI assures it (§7.2)."""
    set_client_id(ada, publish_document())
    ada.approve(ada.authorize().location)

    assert "/consent/" in ada.authorize(redirect_uri=LOOPBACK).location
    assert ada.authorize().location.startswith(f"{CALLBACK}?code=")


@pytest.mark.parametrize(
    "redirect_uri",
    [
        f"{CALLBACK}/",
        f"{CALLBACK}?x=1",
        "https://evil.example/",
        "http://127.0.0.1:4321/other",
        "http://localhost:4321/callback",
    ],
)
def test_the_redirect_uri_must_be_in_the_document(
    ada: Browser, publish_document: PublishDocument, redirect_uri: str
) -> None:
    """§5: exact match; only a loopback port may differ (RFC 8252 §7.3)."""
    set_client_id(ada, publish_document())

    assert ada.authorize(redirect_uri=redirect_uri).status_code == 400
    assert ada.authorize(redirect_uri="http://127.0.0.1:5555/callback").status_code == 303


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "https://other.example/client.json"},
        {"client_id": None},
        {"client_id": ["x"]},
        {"client_secret": "secret"},
        {"client_secret": ""},
        {"client_secret_expires_at": 0},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"redirect_uris": None},
        {"redirect_uris": []},
        {"redirect_uris": ["javascript:alert(1)"]},
        {"redirect_uris": [CALLBACK, "http://evil.example/"]},
        {"redirect_uris": [CALLBACK, "https://a@evil.example/"]},
        {"client_name": "Shop\u202egpj"},
        {"client_name": {"a": 1}},
        {"client_uri": "javascript:alert(1)"},
        {"grant_types": ["client_credentials"]},
        {"response_types": ["token"]},
        {"jwks": {"keys": [EC_KEY.as_dict(private=True)]}, "token_endpoint_auth_method": "private_key_jwt"},
        {"frontchannel_logout_uri": "https://shop.example;script-src/x"},
        {"scope": 5},
    ],
    ids=lambda members: str(members)[:40],  # must be the same in each process, and the key is random
)
def test_a_client_with_an_invalid_document_is_refused(
    ada: Browser, runtime: Runtime, publish_document: PublishDocument, changes: dict[str, Any]
) -> None:
    """§4.1: client_id MUST be the URL of the document; no secret and no authentication method with a shared secret."""
    set_client_id(ada, publish_document(**changes))

    with assert_store_unchanged(runtime):
        refused = ada.authorize()

    assert refused.status_code == 400
    assert "Location" not in refused.headers
    assert ada.request_token("authorization_code", code="x").status_code == 401


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (404, {}, None),
        (201, {}, None),
        (500, {}, None),
        (301, {"Location": "/other.json"}, None),
        (302, {"Location": "/other.json"}, None),
        (307, {"Location": "/other.json"}, None),
        (200, {"Content_Type": "text/html"}, None),
        (200, {"Content_Type": "application/javascript"}, None),
        (200, {}, b"{"),
        (200, {}, b"[]"),
        (200, {}, b"\xff"),
        (200, {}, b"[" * 5000),
        (200, {"Content_Encoding": "gzip"}, b"x"),
    ],
)
def test_only_a_200_response_with_json_is_accepted(
    ada: Browser,
    website: ClientWebsite,
    publish_document: PublishDocument,
    status: int,
    headers: dict[str, str],
    body: bytes | None,
) -> None:
    """§5: MUST NOT follow redirects; every other status or media type is an error."""
    publish_document("/other.json", client_id=website.url(PATH))
    client_id = publish_document(status=status, headers=headers)
    if body is not None:
        website.publish(PATH, body, status, **headers)

    assert set_client_id(ada, client_id).authorize().status_code == 400
    assert "/other.json" not in website.requested_paths


def test_a_media_type_that_ends_in_json_is_accepted(ada: Browser, publish_document: PublishDocument) -> None:
    """§5."""
    client_id = publish_document(headers={"Content_Type": "application/oauth-client+json; charset=utf-8"})

    assert set_client_id(ada, client_id).authorize().status_code == 303


def test_a_document_of_more_than_5_kb_is_refused(ada: Browser, publish_document: PublishDocument) -> None:
    """§6.6: 5 KB."""
    assert set_client_id(ada, publish_document(padding="x" * 4000)).authorize().status_code == 303
    assert set_client_id(ada, publish_document("/large.json", padding="x" * 6000)).authorize().status_code == 400


@pytest.mark.parametrize(
    "client_id",
    [
        "https://assistant.example",
        "https://assistant.example/",
        "https://assistant.example/client.json#x",
        "https://user@assistant.example/client.json",
        "https://user:password@assistant.example/client.json",
        "https://assistant.example/a/../client.json",
        "https://assistant.example/./client.json",
        "https://assistant.example/%2E%2e/client.json",
        "http://assistant.example/client.json",
        "ftp://assistant.example/client.json",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https:///client.json",
        "//assistant.example/client.json",
        "https://assistant.example/client.json\n",
        "https://assistant.example\\@evil.example/client.json",
        "https://assistant.example:99999/client.json",
        "https://assistant.example/" + "a" * 2000,
    ],
)
def test_a_client_id_that_is_not_a_valid_document_url_is_not_fetched(
    ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, client_id: str
) -> None:
    """§3: https, a path, no dot segments, no fragment, no userinfo."""
    fetched: list[str] = []
    monkeypatch.setattr(runtime.fetcher, "get", lambda url, **_: fetched.append(url))

    assert set_client_id(ada, client_id).authorize().status_code == 400
    assert fetched == []


def test_http_urls_and_private_addresses_are_not_fetched_if_the_issuer_is_public(
    make_app: MakeApp, sqlite_store_url: str, publish_document: PublishDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§3: https only; §6.5: no private addresses."""
    client_id = publish_document()
    app = make_app(sqlite_store_url, issuer="https://notes.example", metadata_document_clients="open")
    fetched: list[str] = []
    fetch = app.extensions["valetkey"].fetcher.get
    monkeypatch.setattr(
        app.extensions["valetkey"].fetcher, "get", lambda url, **options: fetched.append(url) or fetch(url, **options)
    )

    over_http = app.test_client().get("/oauth/authorize", query_string={"client_id": client_id})
    over_https = app.test_client().get(
        "/oauth/authorize", query_string={"client_id": client_id.replace("http:", "https:")}
    )

    assert (over_http.status_code, over_https.status_code) == (400, 400)
    assert fetched == [client_id.replace("http:", "https:")], "the fetcher refuses its address"


def test_a_loopback_address_is_not_fetched_in_production(
    make_app: MakeApp, sqlite_store_url: str, publish_document: PublishDocument, website: ClientWebsite
) -> None:
    app = make_app(sqlite_store_url, issuer="https://notes.example", metadata_document_clients="open")
    runtime: Runtime = app.extensions["valetkey"]
    runtime.client_metadata_documents._allow_http_loopback = True  # even if the check of the URL allows it

    assert runtime.clients.find(publish_document(), runtime.clock()) is None
    assert website.requested_paths == []


def test_a_document_is_cached_for_its_max_age_but_at_least_a_minute(
    ada: Browser, publish_document: PublishDocument, website: ClientWebsite, clock: Clock
) -> None:
    """§5.2."""
    set_client_id(ada, publish_document(headers={"Cache_Control": "max-age=300"}))
    ada.authorize()
    clock.forward(seconds=299)
    ada.authorize()
    assert website.requested_paths == [PATH]
    clock.forward(seconds=2)
    publish_document(redirect_uris=["https://moved.example/"], headers={"Cache_Control": "no-store"})
    assert ada.authorize().status_code == 400, "the new document is used"
    clock.forward(seconds=59)
    ada.authorize()
    assert website.requested_paths == [PATH] * 2, "not more than once a minute, whatever the document says"
    clock.forward(seconds=2)
    ada.authorize()
    assert website.requested_paths == [PATH] * 3


def test_a_document_is_cached_for_at_most_a_day(
    ada: Browser, publish_document: PublishDocument, website: ClientWebsite, clock: Clock
) -> None:
    """§5.2."""
    set_client_id(ada, publish_document(headers={"Cache_Control": "max-age=99999999"}))
    ada.authorize()
    clock.forward(seconds=86_401)
    ada.authorize()

    assert website.requested_paths == [PATH] * 2


def test_error_responses_and_invalid_documents_are_not_cached(
    ada: Browser, publish_document: PublishDocument, website: ClientWebsite
) -> None:
    """§5.2: MUST NOT cache error responses and invalid documents."""
    set_client_id(ada, publish_document(status=500))
    assert ada.authorize().status_code == 400
    publish_document(client_id="https://other.example/")
    assert ada.authorize().status_code == 400
    publish_document()

    assert ada.authorize().status_code == 303


def test_a_cached_document_stays_valid_during_a_short_outage_of_its_site(
    ada: Browser, publish_document: PublishDocument, clock: Clock
) -> None:
    set_client_id(ada, publish_document())
    tokens = ada.obtain_tokens()
    publish_document(status=503)
    clock.forward(seconds=400)
    assert ada.refresh(tokens["refresh_token"]).status_code == 200
    clock.forward(seconds=3600)

    assert ada.authorize().status_code == 400, "the cached document expires"


def test_a_client_is_refused_after_its_document_was_removed(
    ada: Browser, publish_document: PublishDocument, clock: Clock
) -> None:
    set_client_id(ada, publish_document())
    tokens = ada.obtain_tokens()
    publish_document(status=404)
    clock.forward(seconds=400)

    assert ada.refresh(tokens["refresh_token"]).status_code == 401
    assert ada.authorize().status_code == 400


def test_fetches_from_one_host_are_limited(
    ada: Browser, publish_document: PublishDocument, website: ClientWebsite
) -> None:
    """§6.5: requests must not make the server flood another one."""
    client_id = publish_document(status=500)
    for _ in range(70):
        set_client_id(ada, client_id).authorize()

    assert len(website.requested_paths) == 60


def test_the_scope_in_the_document_is_the_limit_and_unknown_scopes_are_ignored(
    ada: Browser, publish_document: PublishDocument
) -> None:
    set_client_id(ada, publish_document(scope="profile unknown"))

    assert "/consent/" in ada.authorize(scope=None).location
    assert "error=invalid_scope" in ada.authorize(scope="notes:write").location


def test_a_public_client_with_a_document_cannot_authenticate_with_a_secret(
    ada: Browser, publish_document: PublishDocument
) -> None:
    client_id = publish_document()
    with_secret = {"grant_type": "authorization_code", "code": "x", "client_id": client_id, "client_secret": "x"}

    assert ada.http.post("/oauth/token", data=with_secret).status_code == 401
    introspection = ada.http.post("/oauth/introspect", data={"token": "x", "client_id": client_id})
    assert introspection.status_code == 401
    client_credentials = {"grant_type": "client_credentials", "client_id": client_id}
    assert ada.http.post("/oauth/token", data=client_credentials).json["error"] == "unauthorized_client"


def test_a_client_with_a_document_may_authenticate_with_private_key_jwt(
    ada: Browser, publish_document: PublishDocument, clock: Clock, website: ClientWebsite
) -> None:
    """§4.1, §6.2: the audience of the assertion must be the issuer."""
    client_id = publish_document(
        token_endpoint_auth_method="private_key_jwt", jwks_uri=website.publish("/jwks", JWKS), client_name="Agent"
    )
    set_client_id(ada, client_id)
    client = PrivateKeyClient(ada.http, client_id, clock)
    parameters = {"grant_type": "authorization_code", "code_verifier": "v" * 43}

    assert (
        client.send(
            client.sign(aud="http://127.0.0.1:8000/oauth/token"), **parameters, code=ada.obtain_code()
        ).status_code
        == 401
    )
    assert ada.request_token("authorization_code", code=ada.obtain_code(), code_verifier="v" * 43).status_code == 401
    assert client.send(client.sign(), **parameters, code=ada.obtain_code()).status_code == 200


def test_the_operator_can_disable_and_enable_a_client_with_a_document(
    ada: Browser, runtime: Runtime, publish_document: PublishDocument
) -> None:
    set_client_id(ada, publish_document())
    tokens = ada.obtain_tokens()
    client = find_or_create_client(runtime, ada.client.client_id, runtime.clock())
    assert client
    disable_client(runtime.store, client, runtime.clock())

    assert ada.authorize().status_code == 400
    assert ada.refresh(tokens["refresh_token"]).status_code == 401
    assert ada.call(tokens["access_token"]).status_code == 401
    disabled = find_or_create_client(runtime, ada.client.client_id, runtime.clock())
    assert disabled
    enable_client(runtime.store, disabled, runtime.clock())
    assert ada.authorize().status_code == 303


def test_with_the_setting_approve_only_clients_that_the_operator_approved_are_accepted(
    make_app: MakeApp, sqlite_store_url: str, publish_document: PublishDocument, website: ClientWebsite
) -> None:
    app = make_app(sqlite_store_url, metadata_document_clients="approve")
    runtime: Runtime = app.extensions["valetkey"]
    browser = set_client_id(Browser(app.test_client(), CreatedClient("", None)), publish_document())
    sign_in_new_account(browser, runtime, "eve@example.org", "Eve")

    assert browser.authorize().status_code == 400
    assert website.requested_paths == [], "the document of an unapproved client is not fetched"
    assert find_or_create_client(runtime, browser.client.client_id, runtime.clock())
    assert browser.authorize().status_code == 303


def test_metadata_documents_are_off_by_default_in_production(
    make_app: MakeApp, sqlite_store_url: str, publish_document: PublishDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(sqlite_store_url, issuer="https://notes.example")
    runtime: Runtime = app.extensions["valetkey"]
    fetched: list[str] = []
    monkeypatch.setattr(runtime.fetcher, "get", lambda url, **_: fetched.append(url))
    client_id = "https://assistant.example/client.json"

    refused = app.test_client().get("/oauth/authorize", query_string={"client_id": client_id})

    assert refused.status_code == 400
    assert fetched == []
    assert "client_id_metadata_document_supported" not in app.test_client().get(METADATA).json


def test_a_registered_client_whose_id_is_a_url_is_not_replaced_by_a_document(
    runtime: Runtime, website: ClientWebsite, publish_document: PublishDocument
) -> None:
    from valetkey.authorization_server.clients.service import register_client

    client_id = publish_document()
    register_client(runtime, runtime.clock(), name="Own", policy="web", redirect_uris=[CALLBACK], client_id=client_id)

    client = runtime.clients.find(client_id, runtime.clock())
    assert client and (client.name, client.policy.name) == ("Own", "web")
    assert website.requested_paths == []


def test_the_account_page_lists_the_client_with_its_name(ada: Browser, publish_document: PublishDocument) -> None:
    set_client_id(ada, publish_document())
    ada.obtain_tokens()

    assert "Assistant" in ada.get("/account").text


def test_simultaneous_requests_share_one_fetch(
    app: Flask, publish_document: PublishDocument, website: ClientWebsite
) -> None:
    client_id = publish_document()
    authorize = lambda _: app.test_client().get("/oauth/authorize", query_string={"client_id": client_id})  # noqa: E731
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(authorize, range(16)))

    assert website.requested_paths == [PATH]
    assert json.loads(website.documents[PATH][2])["client_id"] == client_id


def test_slow_sites_do_not_block_the_requests_of_other_clients(
    ada: Browser, publish_document: PublishDocument, runtime: Runtime, clock: Clock, website: ClientWebsite
) -> None:
    """§6.5: a few slow sites must not stop the server; clients whose document is cached are served from the cache."""
    shop, cached, uncached = ada.client, publish_document(), publish_document("/uncached.json")
    token = set_client_id(ada, cached).obtain_tokens()["refresh_token"]
    clock.forward(seconds=400)
    paths_before = list(website.requested_paths)
    with ExitStack() as fetch_slots:
        with pytest.raises(TooManyFetches):
            for number in range(20):
                fetch_slots.enter_context(runtime.fetch_slots.client_metadata(f"https://slow{number}.example"))
        refused = set_client_id(ada, uncached).authorize()
        token_response = ada.post("/oauth/token", grant_type="authorization_code", client_id=uncached, code="x")
        refreshed = set_client_id(ada, cached).refresh(token)
        ada.client = shop
        shop_response = ada.authorize()

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert (token_response.status_code, token_response.json["error"]) == (503, "temporarily_unavailable")
    assert (refreshed.status_code, shop_response.status_code) == (200, 303)
    assert website.requested_paths == paths_before
    assert set_client_id(ada, uncached).authorize().status_code == 303, "a moment later"


def test_slow_documents_of_one_site_do_not_block_documents_of_other_sites(
    ada: Browser, publish_document: PublishDocument, runtime: Runtime
) -> None:
    client_id = publish_document()
    with ExitStack() as fetch_slots:
        with pytest.raises(TooManyFetches):
            for number in range(20):
                fetch_slots.enter_context(runtime.fetch_slots.client_metadata(f"https://slow.example/{number}"))

        assert set_client_id(ada, client_id).authorize().status_code == 303


def test_simultaneous_requests_share_the_failure_of_one_fetch() -> None:
    """§5.2, §6.5: requests that wait for the same document share its result; a failure is not cached."""
    fetched, all_waiting, arrivals = [], Event(), count_from(1)

    class SlowSite:
        def get(self, url: str, **_: Any) -> FetchResponse:
            fetched.append(url)
            assert all_waiting.wait(5)
            raise FetchFailed("no response")

    @contextmanager
    def waiting(_: str) -> Iterator[None]:
        if next(arrivals) == 3:
            all_waiting.set()
        yield

    documents = ClientMetadataDocumentCache(SlowSite(), set(), lambda *_: True, waiting, allow_http_loopback=False)  # type: ignore[arg-type]
    find = lambda _: documents.find("https://slow.example/client.json", 0.0)  # noqa: E731
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(find, range(3))) == [None, None, None]

    assert len(fetched) == 1
    assert find(0) is None
    assert len(fetched) == 2
