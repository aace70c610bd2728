"""RFC 8252 §8.6: a public client whose redirect URI leads to the user's device is never answered without a prompt."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support.app import MakeApp, Register
from tests.support.browser_client import CALLBACK, Browser, redirect_parameters
from tests.support.changing_client import with_cookies_of
from tests.support.prompts import assert_prompts
from valetkey.authorization_server.clients.service import CreatedClient, register_client
from valetkey.protocol.client_policy import CLIENT_POLICIES
from valetkey.protocol.redirect_uri import leads_to_user_device, redirect_uri_problem
from valetkey.protocol.uri import endpoint_uri_problem
from valetkey.runtime import Runtime

DEVICE_URIS = {
    "loopback": "http://127.0.0.1/cb",
    "IPv6 loopback": "http://[::1]/cb",
    "localhost": "http://localhost:3000/cb",
    "https on loopback": "https://127.0.0.1/cb",
    "a name below localhost": "https://app.localhost/cb",
}
PUBLIC_POLICIES = [name for name, policy in CLIENT_POLICIES.items() if "none" in policy.auth_methods]


@pytest.mark.parametrize("policy", PUBLIC_POLICIES)
@pytest.mark.parametrize("uri", DEVICE_URIS.values(), ids=DEVICE_URIS)
def test_a_public_client_with_a_loopback_redirect_is_prompted_each_time(
    ada: Browser, register: Register, policy: str, uri: str
) -> None:
    client = register(policy, redirect_uris=[uri, CALLBACK], auth_method="none")

    assert_prompts(Browser(ada.http, client), uri)


@pytest.mark.parametrize("policy", ["native", "agent"])
def test_a_public_client_with_a_private_use_scheme_is_prompted_each_time(
    ada: Browser, register: Register, policy: str
) -> None:
    client = register(policy, redirect_uris=["com.example.app:/cb", CALLBACK], auth_method="none")

    assert_prompts(Browser(ada.http, client), "com.example.app:/cb")


@pytest.mark.parametrize("application_type", ["web", "native"])
def test_a_client_that_registered_itself_is_prompted_each_time(
    ada: Browser, make_app: MakeApp, store_url: str, application_type: str
) -> None:
    app: Flask = make_app(store_url, registration_policy="open")
    http = with_cookies_of(ada, app)
    metadata = {
        "redirect_uris": ["http://localhost:3000/cb", CALLBACK],
        "token_endpoint_auth_method": "none",
        "application_type": application_type,
    }
    client_id = http.post("/oauth/register", json=metadata).json["client_id"]

    assert_prompts(Browser(http, CreatedClient(client_id, None)), "http://localhost:3000/cb")


@pytest.mark.parametrize("policy", PUBLIC_POLICIES)
def test_the_same_public_client_is_not_prompted_again_for_an_https_redirect(
    ada: Browser, register: Register, policy: str
) -> None:
    browser = Browser(ada.http, register(policy, redirect_uris=["http://127.0.0.1/cb", CALLBACK], auth_method="none"))
    browser.obtain_code()

    assert "code" in redirect_parameters(browser.authorize())
    assert "code" in redirect_parameters(browser.authorize(prompt="none"))


def test_a_client_that_authenticates_is_not_prompted_again_for_a_loopback_redirect(
    ada: Browser, runtime: Runtime
) -> None:
    uri = "http://127.0.0.1/cb"
    client = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[uri])
    browser = Browser(ada.http, client)
    browser.approve(browser.authorize(redirect_uri=uri).location)

    assert "code" in redirect_parameters(browser.authorize(redirect_uri=uri))


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://127.255.255.254:80/",
        "http://0.0.0.0/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::127.0.0.1]/",
        "https://[::ffff:0:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::5efe:127.0.0.1]/",
        "https://localhost./",
        "https://LOCALHOST/",
        "https://a.localhost/",
        "com.example.app:/cb",
        "com.example.app://host/cb",
        "not a URI",
    ],
)
def test_each_spelling_of_a_loopback_address_leads_to_the_device(uri: str) -> None:
    assert leads_to_user_device(uri)


@pytest.mark.parametrize(
    "host", ["[::127.0.0.1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "127.1", "[::]", "0.0.0.0"]
)
def test_only_the_usual_spellings_of_a_loopback_address_can_be_registered_with_http(host: str) -> None:
    problem = redirect_uri_problem(f"http://{host}/callback", native=True)

    assert problem == "http is for loopback addresses only; use https"
    assert endpoint_uri_problem(f"http://{host}/") == problem


@pytest.mark.parametrize(
    "uri", ["https://shop.example/", "https://localhost.example/", "https://8.8.8.8/", "https://[2001:db8::1]/"]
)
def test_other_hosts_do_not_lead_to_the_device(uri: str) -> None:
    assert not leads_to_user_device(uri)
