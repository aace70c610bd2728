"""OpenID Connect Dynamic Client Registration 1.0, with the members that the logout specifications add."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conformance.client_website import ClientWebsite
from tests.conformance.registration import (
    ExpectRefusal,
    PostRegistration,
    both_stores,
    call_configuration_endpoint,
    created_client,
)
from tests.support.browser_client import CALLBACK, Browser
from tests.support.clock import Clock
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE
from valetkey.runtime import Runtime
from valetkey.storage import clients

OTHER_HOST = "https://elsewhere.example/back"


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str:
    """Use SQLite unless the test is parametrized with a store."""
    return str(request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_store_url"))


def decode_unverified(id_token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of a JWT without verifying it."""
    decode = lambda part: json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))  # noqa: E731
    header, payload, _ = id_token.split(".")
    return decode(header), decode(payload)


@both_stores
def test_every_supported_member_is_registered_and_returned(
    http: FlaskClient, post_registration: PostRegistration
) -> None:
    """§2, §3.2, §4.3."""
    metadata = {
        "application_type": "web",
        "subject_type": "public",
        "id_token_signed_response_alg": "ES256",
        "userinfo_signed_response_alg": "RS256",
        "token_endpoint_auth_method": "client_secret_post",
        "token_endpoint_auth_signing_alg": "ES256",
        "default_max_age": 300,
        "require_auth_time": True,
        "default_acr_values": ["urn:valetkey:acr:password"],
        "initiate_login_uri": "https://shop.example/start",
        "post_logout_redirect_uris": ["https://shop.example/bye"],
        "backchannel_logout_uri": "https://shop.example/backchannel",
        "backchannel_logout_session_required": True,
        "frontchannel_logout_uri": "https://shop.example/frontchannel",
        "frontchannel_logout_session_required": True,
    }

    response = post_registration(**metadata)

    assert response.status_code == 201, response.text
    assert {name: response.json[name] for name in metadata} == metadata
    assert {name: call_configuration_endpoint(http, response.json).json[name] for name in metadata} == metadata


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("application_type", "desktop"),
        ("subject_type", "private"),
        ("id_token_signed_response_alg", "none"),
        ("id_token_signed_response_alg", "HS256"),
        ("userinfo_signed_response_alg", "none"),
        ("token_endpoint_auth_signing_alg", "none"),
        ("token_endpoint_auth_signing_alg", "HS256"),
        ("default_max_age", -1),
        ("default_max_age", "300"),
        ("default_max_age", True),
        ("default_max_age", 10**12),
        ("require_auth_time", "yes"),
        ("default_acr_values", "a"),
        ("default_acr_values", [5]),
        ("initiate_login_uri", "http://shop.example/start"),
        ("initiate_login_uri", "http://127.0.0.1/start"),
        ("post_logout_redirect_uris", ["javascript:alert(1)"]),
        ("post_logout_redirect_uris", ["https://shop.example/#x"]),
        ("post_logout_redirect_uris", "https://shop.example/"),
        ("backchannel_logout_uri", "http://shop.example/"),
        ("backchannel_logout_uri", "https://shop.example/#x"),
        ("backchannel_logout_uri", "https://user@shop.example/"),
        ("backchannel_logout_session_required", 1),
        ("frontchannel_logout_uri", "javascript:alert(1)"),
        ("frontchannel_logout_uri", "https://other.example/logout"),
        ("frontchannel_logout_uri", "https://shop.example;script-src*/x"),
        ("frontchannel_logout_session_required", "true"),
        ("sector_identifier_uri", "http://shop.example/sector"),
        ("sector_identifier_uri", "javascript:alert(1)"),
        ("sector_identifier_uri", 5),
    ],
)
def test_an_invalid_member_is_refused(expect_refusal: ExpectRefusal, member: str, value: Any) -> None:
    """§3.3: invalid_client_metadata."""
    expect_refusal("invalid_client_metadata", **{member: value})


def test_unsupported_members_are_ignored_and_not_returned(post_registration: PostRegistration) -> None:
    """§2: members about encryption and request objects."""
    metadata = {"id_token_encrypted_response_alg": "RSA-OAEP", "request_uris": ["https://shop.example/request"]}

    assert not metadata.keys() & post_registration(**metadata).json.keys()


def test_id_tokens_and_userinfo_are_signed_with_the_registered_algorithms(
    ada: Browser, post_registration: PostRegistration
) -> None:
    """§2: id_token_signed_response_alg, RS256 by default; userinfo_signed_response_alg, unsigned by default."""
    ada.client = created_client(post_registration().json)
    tokens = ada.obtain_tokens(scope=("openid",))
    assert decode_unverified(tokens["id_token"])[0]["alg"] == "RS256"
    assert ada.call(tokens["access_token"], "/oauth/userinfo").content_type == "application/json"

    ada.client = created_client(
        post_registration(id_token_signed_response_alg="ES256", userinfo_signed_response_alg="ES256").json
    )
    tokens = ada.obtain_tokens(scope=("openid",))
    assert decode_unverified(tokens["id_token"])[0]["alg"] == "ES256"
    userinfo = ada.call(tokens["access_token"], "/oauth/userinfo")
    assert userinfo.content_type == "application/jwt"
    assert decode_unverified(userinfo.text)[0]["alg"] == "ES256"


def test_default_max_age_applies_to_requests_without_max_age(
    ada: Browser, post_registration: PostRegistration, clock: Clock
) -> None:
    """§2: max_age in the request overrides it."""
    ada.client = created_client(post_registration(default_max_age=60).json)
    ada.obtain_tokens(scope=("openid",))
    clock.forward(seconds=120)

    assert "error=login_required" in ada.authorize(prompt="none", scope="openid").location
    assert "code=" in ada.authorize(prompt="none", scope="openid", max_age="300").location


def test_require_auth_time_is_supported(ada: Browser, post_registration: PostRegistration) -> None:
    """§2."""
    ada.client = created_client(post_registration(require_auth_time=True).json)

    assert isinstance(decode_unverified(ada.obtain_tokens(scope=("openid",))["id_token"])[1]["auth_time"], int)


def test_the_sector_document_must_contain_every_redirect_uri(
    post_registration: PostRegistration, expect_refusal: ExpectRefusal, website: ClientWebsite
) -> None:
    """§5: redirect_uris MUST all be in the array, else an error MUST be returned."""
    uris = [CALLBACK, OTHER_HOST]
    complete = website.publish("/complete.json", [*uris, "https://third.example/back"])
    incomplete = website.publish("/incomplete.json", [CALLBACK])

    response = post_registration(redirect_uris=uris, subject_type="pairwise", sector_identifier_uri=complete)

    assert response.status_code == 201
    assert response.json["sector_identifier_uri"] == complete
    expect_refusal("invalid_client_metadata", redirect_uris=uris, sector_identifier_uri=incomplete)


@pytest.mark.parametrize("document", [{}, "x", None, b"{", b"", [[CALLBACK]], {"redirect_uris": [CALLBACK]}], ids=str)
def test_a_sector_document_that_is_not_an_array_of_uris_is_refused(
    expect_refusal: ExpectRefusal, website: ClientWebsite, document: Any
) -> None:
    """§5: an array of redirect_uri values."""
    expect_refusal("invalid_client_metadata", sector_identifier_uri=website.publish("/sector.json", document))


def test_a_sector_document_that_cannot_be_fetched_is_refused(
    expect_refusal: ExpectRefusal, website: ClientWebsite
) -> None:
    """§5."""
    expect_refusal("invalid_client_metadata", sector_identifier_uri=website.url("/nothing"))
    redirected = website.publish("/moved", [CALLBACK], 302, Location=website.publish("/sector.json", [CALLBACK]))
    expect_refusal("invalid_client_metadata", sector_identifier_uri=redirected)
    assert "/sector.json" not in website.requested_paths


def test_the_sector_document_is_checked_again_at_each_update(
    http: FlaskClient, post_registration: PostRegistration, website: ClientWebsite, runtime: Runtime
) -> None:
    """§5; otherwise a client could add redirect URIs that do not belong to its sector."""
    sector = website.publish("/sector.json", [CALLBACK])
    information = post_registration(sector_identifier_uri=sector, subject_type="pairwise").json
    update = {"client_id": information["client_id"], "redirect_uris": [OTHER_HOST], "sector_identifier_uri": sector}

    refused = call_configuration_endpoint(http, information, "PUT", json=update)

    assert refused.json["error"] == "invalid_client_metadata"
    client = clients.find(runtime.store, information["client_id"], runtime.clock())
    assert client and client.redirect_uris == (CALLBACK,)


def test_pairwise_subjects_with_redirect_uris_on_several_hosts_require_a_sector(
    expect_refusal: ExpectRefusal, post_registration: PostRegistration
) -> None:
    """OpenID Connect Core §8.1: the client MUST register a sector_identifier_uri."""
    expect_refusal("invalid_client_metadata", redirect_uris=[CALLBACK, OTHER_HOST], subject_type="pairwise")
    assert post_registration(redirect_uris=[CALLBACK, f"{CALLBACK}/2"], subject_type="pairwise").status_code == 201


def test_two_clients_of_one_sector_get_the_same_subject_for_a_user(
    ada: Browser, post_registration: PostRegistration, website: ClientWebsite
) -> None:
    """OpenID Connect Core §8.1: the host of the sector_identifier_uri is the sector; others get another subject."""
    sector = website.publish("/sector.json", [CALLBACK, OTHER_HOST])
    subjects = []
    for metadata in ({"sector_identifier_uri": sector}, {"sector_identifier_uri": sector}, {}):
        ada.client = created_client(post_registration(subject_type="pairwise", **metadata).json)
        subjects.append(decode_unverified(ada.obtain_tokens(scope=("openid",))["id_token"])[1]["sub"])

    assert subjects[0] == subjects[1] != subjects[2]
    assert "ada" not in subjects


def obtain_sub(browser: Browser, redirect_uri: str = CALLBACK) -> str:
    """Return the ``sub`` of Ada in the ID token of the browser's client, by the code flow."""
    code = browser.obtain_code(scope=("openid",), redirect_uri=redirect_uri)
    return str(decode_unverified(browser.redeem(code, redirect_uri=redirect_uri).json["id_token"])[1]["sub"])


def test_a_client_with_another_way_to_tokens_is_a_sector_of_its_own(
    ada: Browser, post_registration: PostRegistration
) -> None:
    """OpenID Connect Core §8.1: everyone can register the redirect URI of another site, and get tokens elsewhere."""
    subjects = []
    for grant_types in (["authorization_code"], ["authorization_code", "refresh_token"], [DEVICE_CODE_GRANT_TYPE]):
        metadata = {"grant_types": [*grant_types, "authorization_code"], "subject_type": "pairwise"}
        ada.client = created_client(post_registration(**metadata).json)
        subjects.append(obtain_sub(ada))

    assert subjects[0] == subjects[1] != subjects[2]


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://127.0.0.1/callback",
        "https://localhost/callback",
        "https://[::1]/callback",
        "com.example.shop://shop.example/callback",
    ],
)
def test_clients_that_are_redirected_to_the_users_device_share_no_sector(
    ada: Browser, post_registration: PostRegistration, redirect_uri: str
) -> None:
    """OpenID Connect Core §8.1: such a redirect URI belongs to nobody."""
    subjects = []
    for uri in (redirect_uri, redirect_uri, CALLBACK):
        information = post_registration(
            redirect_uris=[uri],
            application_type="native",
            token_endpoint_auth_method="none",
            grant_types=["authorization_code"],
            subject_type="pairwise",
        )
        ada.client = created_client(information.json)
        subjects.append(obtain_sub(ada, uri))

    assert len(set(subjects)) == 3


@pytest.mark.parametrize("redirect_uris", [[], [CALLBACK]])
def test_a_device_client_cannot_name_a_sector_document(
    expect_refusal: ExpectRefusal, website: ClientWebsite, redirect_uris: list[str]
) -> None:
    """§5: the document vouches for redirect URIs, and the client gets its tokens without them."""
    expect_refusal(
        "invalid_client_metadata",
        grant_types=[DEVICE_CODE_GRANT_TYPE, *(["authorization_code"] if redirect_uris else [])],
        redirect_uris=redirect_uris,
        subject_type="pairwise",
        sector_identifier_uri=website.publish("/sector.json", [CALLBACK]),
    )


def test_a_client_can_read_its_registration_with_its_token(
    http: FlaskClient, post_registration: PostRegistration
) -> None:
    """§4: client configuration endpoint."""
    information = post_registration().json

    assert call_configuration_endpoint(http, information).status_code == 200
    assert call_configuration_endpoint(http, information, token="x").status_code == 401


def pages_about_client(ada: Browser, **metadata: Any) -> list[str]:
    """Register a client and return the pages about it that a user sees: the sign-in page and the consent page."""
    ada.client = created_client(ada.http.post("/oauth/register", json={"redirect_uris": [CALLBACK], **metadata}).json)
    path = ada.authorize(scope="openid").location
    return [ada.get(f"/account/sign-in?next={path}").text, ada.get(path).text]


def test_the_pages_link_to_the_privacy_policy_and_terms_of_the_client(ada: Browser) -> None:
    """§2: policy_uri, tos_uri; the OpenID Provider SHOULD display them."""
    policy, terms = "https://shop.example/policy", "https://shop.example/terms?a=1&b=2"

    for page in pages_about_client(ada, policy_uri=policy, tos_uri=terms):
        assert f'<a href="{policy}" rel="noopener noreferrer nofollow">' in page
        assert f'<a href="{terms.replace("&", "&amp;")}" rel="noopener noreferrer nofollow">' in page
    for page in pages_about_client(ada):
        assert "Privacy policy" not in page and "Terms of service" not in page


IMAGES = {
    "image/png": b"\x89PNG\r\n\x1a\n...",
    "image/jpeg": b"\xff\xd8\xff...",
    "image/gif": b"GIF89a...",
    "image/webp": b"RIFF\0\0\0\0WEBP...",
}


@pytest.mark.parametrize("media_type", IMAGES)
def test_the_pages_show_the_logo_of_the_client_from_the_servers_own_origin(
    ada: Browser, website: ClientWebsite, media_type: str
) -> None:
    """§2: logo_uri SHOULD be displayed; RFC 9700 §4.2.4: no page loads resources from other origins."""
    logo = website.publish("/logo", IMAGES[media_type], Content_Type="text/html")

    pages = pages_about_client(ada, logo_uri=logo, redirect_uris=[website.url("/back"), CALLBACK])

    path = f"/oauth/logo?client_id={ada.client.client_id}"
    assert all(f'<img class="logo" src="{path}" alt=""' in page and logo not in page for page in pages)
    for _ in range(2):
        response = ada.get(path)
        assert (response.status_code, response.content_type, response.data) == (200, media_type, IMAGES[media_type])
    assert website.requested_paths == ["/logo"], "fetched once"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_a_logo_on_another_host_than_the_clients_is_not_shown(ada: Browser, website: ClientWebsite) -> None:
    """RFC 7591 §5: otherwise a client could show the logo of a bank."""
    logo = website.publish("/logo", IMAGES["image/png"])

    assert all('class="logo"' not in page for page in pages_about_client(ada, logo_uri=logo))
    assert ada.get(f"/oauth/logo?client_id={ada.client.client_id}").status_code == 404
    assert website.requested_paths == []


@pytest.mark.parametrize("document", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<script>", b"", b"\x89PNG"])
def test_a_logo_that_is_not_a_bitmap_image_is_not_shown(ada: Browser, website: ClientWebsite, document: bytes) -> None:
    """RFC 7591 §5; an SVG may contain a script."""
    logo = website.publish("/logo", document, Content_Type="image/png")
    pages_about_client(ada, logo_uri=logo, redirect_uris=[website.url("/back"), CALLBACK])

    assert ada.get(f"/oauth/logo?client_id={ada.client.client_id}").status_code == 404


def test_a_client_without_a_logo_and_an_unknown_client_get_a_404_for_the_logo(ada: Browser) -> None:
    for query in ("", "?client_id=unknown", f"?client_id={ada.client.client_id}"):
        assert ada.get(f"/oauth/logo{query}").status_code == 404
