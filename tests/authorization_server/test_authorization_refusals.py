"""Errors of the authorization endpoint: on a page until the redirect URI is checked, then by redirect."""

from __future__ import annotations

import re

import pytest

from tests.support.app import Register
from tests.support.browser_client import CALLBACK, ISSUER, Browser, redirect_parameters
from tests.support.store_assertions import assert_store_unchanged
from valetkey.authorization_server.clients.service import disable_client
from valetkey.protocol.pkce import s256
from valetkey.runtime import Runtime
from valetkey.storage import clients

# RFC 9700 §2.1 and §4.1: URIs that are similar to https://shop.example/back, but not equal
SIMILAR_URIS = [
    "https://shop.example/back?next=https://evil.example",
    "https://shop.example/back;params",
    "https://shop.example/back/",
    "https://shop.example/BACK",
    "https://SHOP.example/back",
    "HTTPS://shop.example/back",
    "https://shop.example:443/back",
    "https://shop.example:80@evil.example/back",
    "https://shop.example@evil.example/back",
    "https://evil.example/https://shop.example/back",
    "https://shop.example.evil.example/back",
    "https://shop.example./back",
    "https://shop.example/%62ack",
    "https://shop.example/back%2e",
    "https://shop.example/back#fragment",
    "https://shop.example/x/..;/back",
    "https://shop.example/x/../back",
    "https://shop.example//back",
    "https://shop.example\\@evil.example/back",
    "https://evil.example\\.shop.example/back",
    "http://shop.example/back",
    "//shop.example/back",
    "/back",
    "javascript:alert(1)//https://shop.example/back",
    "data:text/html,https://shop.example/back",
    " https://shop.example/back",
    "https://shop.example/back ",
    "https://shop.example/back\r\nX: y",
    "https://*.example/back",
    "https://shop.example/bac",
]


@pytest.mark.parametrize("uri", SIMILAR_URIS)
def test_a_redirect_uri_that_differs_from_the_registered_one_is_never_redirected_to(
    ada: Browser, runtime: Runtime, uri: str
) -> None:
    with assert_store_unchanged(runtime):
        refused = ada.authorize(redirect_uri=uri)

    assert refused.status_code == 400
    assert "Location" not in refused.headers
    assert "evil" not in refused.text


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:49152/cb/",
        "http://127.0.0.1:49152/cb?a=b",
        "http://127.0.0.1:49152@evil.example/cb",
        "http://127.0.0.1.evil.example:1/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:1:2/cb",
        "http://127.0.0.1:1#@evil.example/cb",
        "http://127.0.0.2:49152/cb",
        "http://127.1:49152/cb",
        "http://2130706433:49152/cb",
        "http://0x7f000001/cb",
        "http://localhost:49152/cb",
        "http://[::1]:49152/cb",
        "http://[0:0:0:0:0:0:0:1]/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "https://127.0.0.1/cb",
        "http://0.0.0.0/cb",
    ],
)
def test_a_loopback_redirect_uri_may_differ_in_its_port_only(ada: Browser, register: Register, uri: str) -> None:
    native = Browser(ada.http, register("native", redirect_uris=["http://127.0.0.1/cb"]))

    refused = native.authorize(redirect_uri=uri)

    assert refused.status_code == 400
    assert "Location" not in refused.headers


def test_a_web_client_cannot_vary_the_port_of_its_redirect_uri(ada: Browser, register: Register) -> None:
    web = Browser(ada.http, register("web", redirect_uris=["http://127.0.0.1:8080/cb"]))

    assert web.authorize(redirect_uri="http://127.0.0.1:8081/cb").status_code == 400


@pytest.mark.parametrize(
    ("changes", "expected_text"),
    [
        ({"client_id": None}, "client_id is missing"),
        ({"client_id": "unknown"}, "not registered here"),
        ({"client_id": "' OR 1=1 --"}, "not registered here"),
    ],
)
def test_an_unknown_client_is_refused_on_a_page_without_a_redirect(
    ada: Browser, runtime: Runtime, changes: dict[str, str | None], expected_text: str
) -> None:
    with assert_store_unchanged(runtime):
        refused = ada.authorize(**changes)

    assert refused.status_code == 400
    assert expected_text in refused.text
    assert "Location" not in refused.headers


def test_a_disabled_client_is_refused_on_a_page(ada: Browser, runtime: Runtime) -> None:
    client = clients.find(runtime.store, ada.client.client_id, runtime.clock())
    assert client
    disable_client(runtime.store, client, runtime.clock())

    assert ada.authorize().status_code == 400


def test_a_missing_redirect_uri_is_refused_if_several_are_registered(ada: Browser, register: Register) -> None:
    client = Browser(ada.http, register(redirect_uris=[CALLBACK, "https://shop.example/other"]))

    assert client.authorize(redirect_uri=None).status_code == 400


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_repeated_client_id_or_redirect_uri_is_refused_on_a_page(ada: Browser, runtime: Runtime, name: str) -> None:
    query = [*ada.authorization_parameters().items(), (name, "https://evil.example/")]
    with assert_store_unchanged(runtime):
        refused = ada.get("/oauth/authorize", query_string=query)

    assert refused.status_code == 400
    assert "Location" not in refused.headers


REFUSALS = {
    "no response type": ({"response_type": None}, "invalid_request"),
    "implicit": ({"response_type": "token"}, "unsupported_response_type"),
    "hybrid": ({"response_type": "code token"}, "unsupported_response_type"),
    "id token": ({"response_type": "id_token"}, "unsupported_response_type"),
    "unknown scope": ({"scope": "profile root"}, "invalid_scope"),
    "malformed scope": ({"scope": 'a"b'}, "invalid_scope"),
    "huge scope": ({"scope": "a" * 4001}, "invalid_scope"),
    "no challenge": ({"code_challenge": None}, "invalid_request"),
    "no PKCE at all": ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    "plain": ({"code_challenge_method": "plain"}, "invalid_request"),
    "no challenge method": ({"code_challenge_method": None}, "invalid_request"),
    "method in another case": ({"code_challenge_method": "s256"}, "invalid_request"),
    "empty challenge": ({"code_challenge": ""}, "invalid_request"),
    "short challenge": ({"code_challenge": s256("x")[:42]}, "invalid_request"),
    "long challenge": ({"code_challenge": s256("x") + "A"}, "invalid_request"),
    "challenge with padding": ({"code_challenge": s256("x")[:-1] + "="}, "invalid_request"),
    "unknown resource": ({"resource": "https://other.example"}, "invalid_target"),
    "relative resource": ({"resource": "/api"}, "invalid_target"),
    "resource with a fragment": ({"resource": f"{ISSUER}#a"}, "invalid_target"),
    "fragment": ({"response_mode": "fragment"}, "invalid_request"),
    "huge state": ({"state": "s" * 8193}, "invalid_request"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_other_refusals_are_redirected_to_the_client(ada: Browser, runtime: Runtime, case: str) -> None:
    changes, error = REFUSALS[case]
    with assert_store_unchanged(runtime):
        refused = ada.authorize(**changes)

    assert refused.status_code == 303
    assert refused.location.startswith(f"{CALLBACK}?")
    parameters = redirect_parameters(refused)
    assert parameters["error"] == error
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", parameters["error_description"])
    assert parameters["iss"] == ISSUER  # RFC 9207 §2: in error responses too
    assert parameters["state"] == changes.get("state", "xyz")
    assert "code" not in parameters


def test_a_client_cannot_request_a_scope_that_it_did_not_register(ada: Browser, register: Register) -> None:
    reader = Browser(ada.http, register(scope="notes:read"))

    assert redirect_parameters(reader.authorize(scope="notes:write"))["error"] == "invalid_scope"


def test_a_client_without_the_authorization_code_grant_is_refused(
    ada: Browser, runtime: Runtime, register: Register
) -> None:
    client = register("web", redirect_uris=[CALLBACK], grant_types=["client_credentials"])

    assert redirect_parameters(Browser(ada.http, client).authorize())["error"] == "unauthorized_client"


@pytest.mark.parametrize("name", ["scope", "state", "code_challenge", "response_type", "unknown_parameter"])
def test_a_parameter_sent_twice_is_refused(ada: Browser, runtime: Runtime, name: str) -> None:
    query = [*ada.authorization_parameters().items(), (name, "again"), (name, "and again")]
    with assert_store_unchanged(runtime):
        refused = ada.get("/oauth/authorize", query_string=query)

    assert redirect_parameters(refused)["error"] == "invalid_request"


def test_a_repeated_state_is_not_returned(ada: Browser) -> None:
    refused = ada.get("/oauth/authorize", query_string=[*ada.authorization_parameters().items(), ("state", "other")])

    assert "state" not in redirect_parameters(refused)


@pytest.mark.parametrize(
    "query",
    ["%00", "scope=a%00b", "client_id=%ff%fe", "&".join(f"a{n}=1" for n in range(80)), "a=" + "b" * 33_000],
    ids=["NUL", "NUL in a value", "not UTF-8", "too many", "too long"],
)
def test_a_malformed_query_is_refused_on_a_page(ada: Browser, runtime: Runtime, query: str) -> None:
    with assert_store_unchanged(runtime):
        refused = ada.get(f"/oauth/authorize?{query}")

    assert refused.status_code == 400
    assert refused.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    "body", [b"a=b\r\nSet-Cookie: x=y", b"\xff\xfe", b"\0", b"{}", b"a=" + b"b" * 100_000], ids=repr
)
def test_a_malformed_post_is_refused(ada: Browser, runtime: Runtime, body: bytes) -> None:
    with assert_store_unchanged(runtime):
        posted = ada.http.post("/oauth/authorize", data=body, follow_redirects=True)

    assert posted.status_code in {400, 413}
    assert "Set-Cookie" not in posted.headers or "x=y" not in posted.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "max_age",
    ["9" * 5000, "1" + "0" * 9, "-1", "1.5", "\u0661"],
    ids=["5000 digits", "ten", "negative", "fraction", "Arabic"],
)
def test_a_max_age_that_is_no_number_of_seconds_is_refused(ada: Browser, runtime: Runtime, max_age: str) -> None:
    with assert_store_unchanged(runtime):
        refused = ada.authorize(max_age=max_age)

    assert redirect_parameters(refused)["error"] == "invalid_request"


def test_zeros_before_a_max_age_change_nothing(ada: Browser) -> None:
    accepted = ada.authorize(max_age="0" * 5000 + "9" * 9)

    assert "/oauth/consent/" in accepted.location


def test_the_authorization_endpoint_sends_no_cors_headers(ada: Browser) -> None:
    response = ada.get("/oauth/authorize", headers={"Origin": "https://evil.example"})

    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


def test_the_host_header_does_not_change_the_issuer(ada: Browser) -> None:
    refused = ada.http.get(
        "/oauth/authorize",
        query_string=ada.authorization_parameters(scope="root"),
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
    )

    assert redirect_parameters(refused)["iss"] == ISSUER
    assert "evil" not in refused.location


def test_scopes_separated_by_commas_are_refused_with_a_hint(ada: Browser) -> None:
    refused = redirect_parameters(ada.authorize(scope="profile,notes:read"))

    assert refused["error"] == "invalid_scope"
    assert refused["error_description"] == (
        "the client may not request the scope profile,notes:read: separate scopes by spaces, not commas"
    )
