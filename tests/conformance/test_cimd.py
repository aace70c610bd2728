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
from tests.conformance.test_rfc7523 import EC, JWKS, Robot
from tests.conftest import MakeApp, sign_in_new_account
from tests.support.browser_client import CALLBACK, Browser, Clock, assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.service import (
    CreatedClient,
    disable_client,
    enable_client,
    find_or_create_client,
)
from valetkey.caches.client_metadata_documents import ClientMetadataDocumentCache
from valetkey.outbound.errors import FetchFailed
from valetkey.outbound.http import FetchResponse
from valetkey.runtime import Runtime

METADATA = "/.well-known/oauth-authorization-server"
LOOPBACK = "http://127.0.0.1:4321/callback"
PATH = "/client.json"


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str:
    """SQLite, but where what is tested is the store's work."""
    return str(request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_store_url"))


Describe = Callable[..., str]


@pytest.fixture
def describe(site: ClientWebsite) -> Describe:
    """Put a client's document on its site; its client_id."""

    def put(path: str = PATH, *, status: int = 200, headers: Any = None, **changes: Any) -> str:
        document = {
            "client_id": site.url(path),
            "client_name": "Assistant",
            "client_uri": "https://assistant.example/",
            "redirect_uris": [CALLBACK, LOOPBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
            **changes,
        }
        told = {name: value for name, value in document.items() if value is not None}
        return site.publish(path, told, status, **(headers or {}))

    return put


def with_client(browser: Browser, client_id: str) -> Browser:
    browser.client = CreatedClient(client_id, None)
    return browser


@pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)
def test_a_client_that_nobody_registered_gets_tokens(ada: Browser, describe: Describe, runtime: Runtime) -> None:
    """§3, §5: from the request to the refresh, as any other client; and nothing of it is kept as a client."""
    with_client(ada, describe())
    before = count_rows(runtime.store, "valetkey_clients")

    answer = ada.obtain_tokens()

    assert ada.call(answer["access_token"]).json == {"user": "ada", "client": ada.client.client_id}
    again = ada.refresh(answer["refresh_token"])
    assert again.status_code == 200
    assert ada.revoke(again.json["refresh_token"]).status_code == 200
    assert ada.call(again.json["access_token"]).status_code == 401
    assert count_rows(runtime.store, "valetkey_clients") == before


def test_it_is_advertised_with_the_method_that_such_clients_use(app: Flask) -> None:
    """§7."""
    for path in (METADATA, "/.well-known/openid-configuration"):
        told = app.test_client().get(path).json
        assert told["client_id_metadata_document_supported"] is True
        assert {"none", "private_key_jwt"} <= set(told["token_endpoint_auth_methods_supported"])


def test_the_page_shows_who_asks_and_where_the_answer_goes(ada: Browser, describe: Describe) -> None:
    """§6.4: the host of the redirect URI and the client_id, for the name is only what the client says of itself."""
    with_client(ada, describe())

    page = ada.get(ada.authorize().location)

    assert "shop.example" in page.text
    assert ada.client.client_id in page.text
    assert "Assistant" in page.text


def test_an_answer_to_a_program_on_the_device_is_warned_about(ada: Browser, describe: Describe) -> None:
    """§6.1: anybody can run a program that says it is this client."""
    with_client(ada, describe())

    local = ada.get(ada.authorize(redirect_uri=LOOPBACK).location)
    remote = ada.get(ada.authorize().location)

    assert "Did you start this yourself?" in local.text
    assert "Did you start this yourself?" not in remote.text


def test_the_person_is_asked_each_time(ada: Browser, describe: Describe) -> None:
    """RFC 8252 §8.6: the client's identity cannot be assured."""
    with_client(ada, describe())
    ada.obtain_tokens()

    assert "/consent/" in ada.authorize().location


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
def test_the_redirect_uri_must_be_in_the_document(ada: Browser, describe: Describe, redirect_uri: str) -> None:
    """§5: exactly; a loopback port may vary (RFC 8252 §7.3)."""
    with_client(ada, describe())

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
        {"jwks": {"keys": [EC.as_dict(private=True)]}, "token_endpoint_auth_method": "private_key_jwt"},
        {"frontchannel_logout_uri": "https://shop.example;script-src/x"},
        {"scope": 5},
    ],
    ids=lambda members: str(members)[:40],  # the same in each process: a key is new each time
)
def test_a_document_that_cannot_be_trusted_describes_nobody(
    ada: Browser, runtime: Runtime, describe: Describe, changes: dict[str, Any]
) -> None:
    """§4.1: client_id MUST be the URL; no secret, and no method that needs one."""
    with_client(ada, describe(**changes))

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
def test_only_a_200_with_json_is_a_document(
    ada: Browser, site: ClientWebsite, describe: Describe, status: int, headers: dict[str, str], body: bytes | None
) -> None:
    """§5: MUST NOT follow redirects; every other status and type is an error."""
    describe("/other.json", client_id=site.url(PATH))
    client_id = describe(status=status, headers=headers)
    if body is not None:
        site.publish(PATH, body, status, **headers)

    assert with_client(ada, client_id).authorize().status_code == 400
    assert "/other.json" not in site.requested_paths


def test_a_more_specific_json_type_will_do(ada: Browser, describe: Describe) -> None:
    """§5."""
    client_id = describe(headers={"Content_Type": "application/oauth-client+json; charset=utf-8"})

    assert with_client(ada, client_id).authorize().status_code == 303


def test_a_document_is_of_bounded_size(ada: Browser, describe: Describe) -> None:
    """§6.6: 5 KB."""
    assert with_client(ada, describe(padding="x" * 4000)).authorize().status_code == 303
    assert with_client(ada, describe("/large.json", padding="x" * 6000)).authorize().status_code == 400


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
def test_what_is_not_such_a_url_is_not_fetched(
    ada: Browser, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, client_id: str
) -> None:
    """§3: https, a path, no dot segments, no fragment, no user information."""
    asked: list[str] = []
    monkeypatch.setattr(runtime.fetcher, "get", lambda url, **_: asked.append(url))

    assert with_client(ada, client_id).authorize().status_code == 400
    assert asked == []


def test_off_loopback_http_will_not_do(
    make_app: MakeApp, sqlite_store_url: str, describe: Describe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """§3; and no private address is fetched (§6.5)."""
    client_id = describe()
    app = make_app(sqlite_store_url, issuer="https://notes.example", metadata_document_clients="open")
    asked_for: list[str] = []
    fetch = app.extensions["valetkey"].fetcher.get
    monkeypatch.setattr(
        app.extensions["valetkey"].fetcher, "get", lambda url, **more: asked_for.append(url) or fetch(url, **more)
    )

    asked = app.test_client().get("/oauth/authorize", query_string={"client_id": client_id})
    private = app.test_client().get(
        "/oauth/authorize", query_string={"client_id": client_id.replace("http:", "https:")}
    )

    assert (asked.status_code, private.status_code) == (400, 400)
    assert asked_for == [client_id.replace("http:", "https:")], "which the guard refuses"


def test_loopback_is_not_fetched_in_production(
    make_app: MakeApp, sqlite_store_url: str, describe: Describe, site: ClientWebsite
) -> None:
    app = make_app(sqlite_store_url, issuer="https://notes.example", metadata_document_clients="open")
    runtime: Runtime = app.extensions["valetkey"]
    runtime.client_metadata_documents._allow_http_loopback = True  # the guard holds without the check of the URL

    assert runtime.clients.find(describe(), runtime.clock()) is None
    assert site.requested_paths == []


def test_a_document_is_kept_as_http_allows_a_minute_at_least(
    ada: Browser, describe: Describe, site: ClientWebsite, clock: Clock
) -> None:
    """§5.2."""
    with_client(ada, describe(headers={"Cache_Control": "max-age=300"}))
    ada.authorize()
    clock.forward(seconds=299)
    ada.authorize()
    assert site.requested_paths == [PATH]
    clock.forward(seconds=2)
    describe(redirect_uris=["https://moved.example/"], headers={"Cache_Control": "no-store"})
    assert ada.authorize().status_code == 400, "the new document counts"
    clock.forward(seconds=59)
    ada.authorize()
    assert site.requested_paths == [PATH] * 2, "not more than once a minute, whatever the document says"
    clock.forward(seconds=2)
    ada.authorize()
    assert site.requested_paths == [PATH] * 3


def test_a_document_is_kept_a_day_at_most(ada: Browser, describe: Describe, site: ClientWebsite, clock: Clock) -> None:
    """§5.2."""
    with_client(ada, describe(headers={"Cache_Control": "max-age=99999999"}))
    ada.authorize()
    clock.forward(seconds=86_401)
    ada.authorize()

    assert site.requested_paths == [PATH] * 2


def test_errors_are_not_kept(ada: Browser, describe: Describe, site: ClientWebsite) -> None:
    """§5.2: MUST NOT cache error responses and invalid documents."""
    with_client(ada, describe(status=500))
    assert ada.authorize().status_code == 400
    describe(client_id="https://other.example/")
    assert ada.authorize().status_code == 400
    describe()

    assert ada.authorize().status_code == 303


def test_a_site_that_is_out_of_order_for_a_while_puts_nobody_out(
    ada: Browser, describe: Describe, clock: Clock
) -> None:
    with_client(ada, describe())
    answer = ada.obtain_tokens()
    describe(status=503)
    clock.forward(seconds=400)
    assert ada.refresh(answer["refresh_token"]).status_code == 200
    clock.forward(seconds=3600)

    assert ada.authorize().status_code == 400, "but not for ever"


def test_a_document_that_is_taken_down_puts_the_client_out(ada: Browser, describe: Describe, clock: Clock) -> None:
    with_client(ada, describe())
    answer = ada.obtain_tokens()
    describe(status=404)
    clock.forward(seconds=400)

    assert ada.refresh(answer["refresh_token"]).status_code == 401
    assert ada.authorize().status_code == 400


def test_one_host_is_not_asked_over_and_over(ada: Browser, describe: Describe, site: ClientWebsite) -> None:
    """§6.5: a server must not be made to flood another one."""
    client_id = describe(status=500)
    for _ in range(70):
        with_client(ada, client_id).authorize()

    assert len(site.requested_paths) == 60


def test_a_scope_in_a_document_binds_and_what_is_not_known_is_passed_over(ada: Browser, describe: Describe) -> None:
    with_client(ada, describe(scope="profile unknown"))

    assert "/consent/" in ada.authorize(scope=None).location
    assert "error=invalid_scope" in ada.authorize(scope="notes:write").location


def test_a_public_client_of_a_document_has_no_secret(ada: Browser, describe: Describe) -> None:
    client_id = describe()
    sent = {"grant_type": "authorization_code", "code": "x", "client_id": client_id, "client_secret": "x"}

    assert ada.http.post("/oauth/token", data=sent).status_code == 401
    introspected = ada.http.post("/oauth/introspect", data={"token": "x", "client_id": client_id})
    assert introspected.status_code == 401
    machine = {"grant_type": "client_credentials", "client_id": client_id}
    assert ada.http.post("/oauth/token", data=machine).json["error"] == "unauthorized_client"


def test_a_client_of_a_document_may_prove_itself_by_its_key(
    ada: Browser, describe: Describe, clock: Clock, site: ClientWebsite
) -> None:
    """§4.1, §6.2: private_key_jwt; the audience is the issuer alone."""
    client_id = describe(
        token_endpoint_auth_method="private_key_jwt", jwks_uri=site.publish("/jwks", JWKS), client_name="Agent"
    )
    with_client(ada, client_id)
    robot = Robot(ada.http, client_id, clock)
    sent = {"grant_type": "authorization_code", "code_verifier": "v" * 43}

    assert (
        robot.send(robot.sign(aud="http://127.0.0.1:8000/oauth/token"), **sent, code=ada.obtain_code()).status_code
        == 401
    )
    assert ada.request_token("authorization_code", code=ada.obtain_code(), code_verifier="v" * 43).status_code == 401
    assert robot.send(robot.sign(), **sent, code=ada.obtain_code()).status_code == 200


def test_the_operator_can_put_such_a_client_out_and_let_it_back_in(
    ada: Browser, runtime: Runtime, describe: Describe
) -> None:
    with_client(ada, describe())
    answer = ada.obtain_tokens()
    row = find_or_create_client(runtime, ada.client.client_id)
    assert row
    disable_client(runtime, row)

    assert ada.authorize().status_code == 400
    assert ada.refresh(answer["refresh_token"]).status_code == 401
    assert ada.call(answer["access_token"]).status_code == 401
    enable_client(runtime, row)
    assert ada.authorize().status_code == 303


def test_where_the_operator_approves_others_are_not_known(
    make_app: MakeApp, sqlite_store_url: str, describe: Describe, site: ClientWebsite
) -> None:
    app = make_app(sqlite_store_url, metadata_document_clients="approve")
    runtime: Runtime = app.extensions["valetkey"]
    browser = with_client(Browser(app.test_client(), CreatedClient("", None)), describe())
    sign_in_new_account(browser, runtime, "eve@example.org", "Eve")

    assert browser.authorize().status_code == 400
    assert site.requested_paths == [], "nothing is fetched for whom nobody knows"
    assert find_or_create_client(runtime, browser.client.client_id)
    assert browser.authorize().status_code == 303


def test_in_production_it_is_off_until_the_operator_says_otherwise(
    make_app: MakeApp, sqlite_store_url: str, describe: Describe, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(sqlite_store_url, issuer="https://notes.example")
    runtime: Runtime = app.extensions["valetkey"]
    asked: list[str] = []
    monkeypatch.setattr(runtime.fetcher, "get", lambda url, **_: asked.append(url))
    client_id = "https://assistant.example/client.json"

    refused = app.test_client().get("/oauth/authorize", query_string={"client_id": client_id})

    assert refused.status_code == 400
    assert asked == []
    assert "client_id_metadata_document_supported" not in app.test_client().get(METADATA).json


def test_a_registered_client_whose_id_is_a_url_stays_what_it_is(
    runtime: Runtime, site: ClientWebsite, describe: Describe
) -> None:
    from valetkey.authorization_server.clients.service import register_client

    client_id = describe()
    register_client(runtime, name="Own", policy="web", redirect_uris=[CALLBACK], client_id=client_id)

    found = runtime.clients.find(client_id, runtime.clock())
    assert found and (found.name, found.policy.name) == ("Own", "web")
    assert site.requested_paths == []


def test_the_list_of_connected_apps_has_its_name(ada: Browser, describe: Describe) -> None:
    with_client(ada, describe())
    ada.obtain_tokens()

    assert "Assistant" in ada.get("/account").text


def test_many_who_ask_at_once_cost_one_fetch(app: Flask, describe: Describe, site: ClientWebsite) -> None:
    client_id = describe()
    ask = lambda _: app.test_client().get("/oauth/authorize", query_string={"client_id": client_id})  # noqa: E731
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(16)))

    assert site.requested_paths == [PATH]
    assert json.loads(site.documents[PATH][2])["client_id"] == client_id


def test_whoever_waits_for_slow_sites_leaves_threads_to_others(
    ada: Browser, describe: Describe, runtime: Runtime, clock: Clock, site: ClientWebsite
) -> None:
    """§6.5: a few strangers' sites must not stop the server; who is known already is served as they were known."""
    shop, known, stranger = ada.client, describe(), describe("/stranger.json")
    token = with_client(ada, known).obtain_tokens()["refresh_token"]
    clock.forward(seconds=400)
    before = list(site.requested_paths)
    with ExitStack() as waiting:
        for _ in range(4):
            waiting.enter_context(runtime.fetch_slot())
        refused = with_client(ada, stranger).authorize()
        sent = ada.post("/oauth/token", grant_type="authorization_code", client_id=stranger, code="x")
        again = with_client(ada, known).refresh(token)
        ada.client = shop
        others = ada.authorize()

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert (sent.status_code, sent.json["error"]) == (503, "temporarily_unavailable")
    assert (again.status_code, others.status_code) == (200, 303)
    assert site.requested_paths == before
    assert with_client(ada, stranger).authorize().status_code == 303, "a moment later"


def test_whoever_waits_for_the_same_slow_site_waits_for_one_fetch() -> None:
    """§5.2, §6.5: what came of it, a failure too, is theirs as well; it is not kept for whoever comes later."""
    asked, all_wait, coming = [], Event(), count_from(1)

    class SlowSite:
        def get(self, url: str, **_: Any) -> FetchResponse:
            asked.append(url)
            assert all_wait.wait(5)
            raise FetchFailed("it never answers")

    @contextmanager
    def waiting() -> Iterator[None]:
        if next(coming) == 3:
            all_wait.set()
        yield

    documents = ClientMetadataDocumentCache(SlowSite(), set(), lambda *_: True, waiting, allow_http_loopback=False)  # type: ignore[arg-type]
    find = lambda _: documents.find("https://slow.example/client.json", 0.0)  # noqa: E731
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(find, range(3))) == [None, None, None]

    assert len(asked) == 1
    assert find(0) is None
    assert len(asked) == 2
