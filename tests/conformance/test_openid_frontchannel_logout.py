"""OpenID Connect Front-Channel Logout 1.0."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.conformance.logout_token_receiver import (
    POST_LOGOUT_REDIRECT_URI,
    decode_token,
    is_signed_in,
    obtain_openid_tokens,
    with_client,
)
from tests.support.app import Register
from tests.support.browser_client import ISSUER, Browser
from valetkey.authorization_server.clients.operator_metadata import RegistrationRefused

FRAME = "https://shop.example/logout?theme=dark"


@pytest.fixture
def rp(register: Register, ada: Browser) -> Browser:
    """Ada's browser at a relying party with front-channel logout."""
    members = {
        "frontchannel_logout_uri": FRAME,
        "frontchannel_logout_session_required": True,
        "post_logout_redirect_uris": [POST_LOGOUT_REDIRECT_URI],
    }
    return with_client(ada, register(members=members))


def frames_of(page: Any) -> list[str]:
    """Return the URLs of the frames on a page."""
    return [unescape(uri) for uri in re.findall(r'<iframe src="([^"]+)"', page.text)]


def test_discovery_advertises_front_channel_logout_with_session_ids(rp: Browser) -> None:
    """§3."""
    metadata = rp.get("/.well-known/openid-configuration").json

    assert metadata["frontchannel_logout_supported"] is True
    assert metadata["frontchannel_logout_session_supported"] is True


def test_the_page_loads_each_logout_uri_with_issuer_and_session_and_then_redirects(rp: Browser) -> None:
    """§2, §3; RP-Initiated Logout §3."""
    hint = obtain_openid_tokens(rp)["id_token"]
    page = rp.get(
        "/oauth/logout",
        query_string={"id_token_hint": hint, "post_logout_redirect_uri": POST_LOGOUT_REDIRECT_URI, "state": "x"},
    )

    assert page.status_code == 200
    [frame] = frames_of(page)
    sid = decode_token(rp, hint)[1]["sid"]
    assert frame.startswith(FRAME)
    assert dict(parse_qsl(urlsplit(frame).query)) == {"theme": "dark", "iss": ISSUER, "sid": sid}
    assert f'content="3; url={POST_LOGOUT_REDIRECT_URI}?state=x"' in page.text
    assert f'href="{POST_LOGOUT_REDIRECT_URI}?state=x"' in page.text
    assert page.headers["Content-Security-Policy"].endswith("; frame-src https://shop.example; script-src 'self'")
    assert "signed_out.js" in page.text
    assert not is_signed_in(rp)


def test_the_logout_uri_of_a_pairwise_client_has_the_sid_of_its_id_token(register: Register, ada: Browser) -> None:
    """§3, OpenID Connect Core §8."""
    members = {"frontchannel_logout_uri": FRAME, "frontchannel_logout_session_required": True}
    rp = with_client(ada, register(members={**members, "subject_type": "pairwise"}))
    hint = obtain_openid_tokens(rp)["id_token"]

    [frame] = frames_of(rp.get("/oauth/logout", query_string={"id_token_hint": hint}))

    assert dict(parse_qsl(urlsplit(frame).query))["sid"] == decode_token(rp, hint)[1]["sid"]


def test_a_page_with_scripts_has_no_refresh_beside_the_script(rp: Browser) -> None:
    """§2: the page goes on once; some browsers would go on a second time by the refresh."""
    hint = obtain_openid_tokens(rp)["id_token"]
    query = {"id_token_hint": hint, "post_logout_redirect_uri": POST_LOGOUT_REDIRECT_URI}
    page = rp.get("/oauth/logout", query_string=query).text

    assert page.count("refresh") == 1
    assert re.search(r'<noscript><meta http-equiv="refresh" content="3; url=[^">]+"></noscript>', page)


def test_a_client_that_does_not_require_a_session_gets_no_issuer_and_session(register: Register, ada: Browser) -> None:
    """§2: iss and sid are sent together or not at all."""
    rp = with_client(ada, register(members={"frontchannel_logout_uri": FRAME}))
    hint = obtain_openid_tokens(rp)["id_token"]

    assert frames_of(rp.get("/oauth/logout", query_string={"id_token_hint": hint})) == [FRAME]


def test_the_page_may_frame_the_clients_origins_only(rp: Browser) -> None:
    """§4: the page's Content-Security-Policy."""
    hint = obtain_openid_tokens(rp)["id_token"]
    page = rp.get("/oauth/logout", query_string={"id_token_hint": hint})

    policy = dict(directive.split(" ", 1) for directive in page.headers["Content-Security-Policy"].split("; "))
    assert policy["frame-src"] == "https://shop.example"
    assert (policy["default-src"], policy["frame-ancestors"]) == ("'none'", "'none'")
    assert "script-src" not in policy


def test_a_client_without_a_login_in_the_session_is_not_framed(rp: Browser, shop: Any) -> None:
    """§3: only clients that the user logged in to during the session."""
    hint = obtain_openid_tokens(with_client(rp, shop))["id_token"]
    page = rp.get("/oauth/logout", query_string={"id_token_hint": hint})

    assert frames_of(page) == []
    assert "frame-src" not in page.headers["Content-Security-Policy"]


def test_the_sign_out_button_loads_the_logout_uris(rp: Browser) -> None:
    """§3."""
    obtain_openid_tokens(rp)
    page = rp.submit("/account/sign-out", {}, page_path="/account")

    assert len(frames_of(page)) == 1


@pytest.mark.parametrize(
    "uri",
    [
        "https://other.example/logout",
        "https://shop.example:8443/logout",
        "http://shop.example/logout",
        "javascript:alert(1)",
        "https://shop.example;script-src/logout",
        "https://shop.example/logout#f",
    ],
)
def test_a_logout_uri_with_another_origin_than_the_redirect_uris_is_not_registered(
    register: Register, uri: str
) -> None:
    """§2: scheme, domain and port as those of a registered redirect URI."""
    with pytest.raises(RegistrationRefused, match="frontchannel_logout_uri"):
        register(members={"frontchannel_logout_uri": uri})


def test_a_host_name_that_would_change_the_content_security_policy_is_not_registered(register: Register) -> None:
    """§4: the host is part of the page's Content-Security-Policy."""
    host = "https://shop.example;script-src"
    with pytest.raises(RegistrationRefused, match="frontchannel_logout_uri"):
        register(redirect_uris=[f"{host}/back"], members={"frontchannel_logout_uri": f"{host}/logout"})
