"""OpenID Connect Dynamic Client Registration 1.0, and what the logout specifications add to it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conformance.client_website import ClientWebsite
from tests.conformance.registration import ExpectRefusal, PostRegistration, both_stores, call_configuration_endpoint
from tests.conformance.test_rfc7591 import registered
from tests.support.browser_client import CALLBACK, Browser
from tests.support.clock import Clock
from valetkey.runtime import Runtime
from valetkey.storage import clients

OTHER_HOST = "https://elsewhere.example/back"


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str:
    """SQLite, but where what is tested is the store's work."""
    return str(request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_store_url"))


def claims_of(id_token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header and the claims of an ID token, unverified."""
    read = lambda part: json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))  # noqa: E731
    header, payload, _ = id_token.split(".")
    return read(header), read(payload)


@both_stores
def test_every_member_is_registered_and_told(http: FlaskClient, enrol: PostRegistration) -> None:
    """§2, §3.2; and read again (§4.3)."""
    sent = {
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

    answer = enrol(**sent)

    assert answer.status_code == 201, answer.text
    assert {name: answer.json[name] for name in sent} == sent
    assert {name: call_configuration_endpoint(http, answer.json).json[name] for name in sent} == sent


@pytest.mark.parametrize(
    ("wrong", "value"),
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
def test_a_member_that_cannot_be_is_refused(refuse: ExpectRefusal, wrong: str, value: Any) -> None:
    """§3.3: invalid_client_metadata."""
    refuse("invalid_client_metadata", **{wrong: value})


def test_what_is_not_offered_is_ignored_and_not_told(enrol: PostRegistration) -> None:
    """§2: members of encryption and of request objects."""
    sent = {"id_token_encrypted_response_alg": "RSA-OAEP", "request_uris": ["https://shop.example/request"]}

    assert not sent.keys() & enrol(**sent).json.keys()


def test_the_registered_algorithms_sign_what_the_client_gets(ada: Browser, enrol: PostRegistration) -> None:
    """§2: id_token_signed_response_alg, by default RS256; userinfo_signed_response_alg, by default none."""
    ada.client = registered(enrol())
    answer = ada.obtain_tokens(scope=("openid",))
    assert claims_of(answer["id_token"])[0]["alg"] == "RS256"
    assert ada.call(answer["access_token"], "/oauth/userinfo").content_type == "application/json"

    ada.client = registered(enrol(id_token_signed_response_alg="ES256", userinfo_signed_response_alg="ES256"))
    answer = ada.obtain_tokens(scope=("openid",))
    assert claims_of(answer["id_token"])[0]["alg"] == "ES256"
    userinfo = ada.call(answer["access_token"], "/oauth/userinfo")
    assert userinfo.content_type == "application/jwt"
    assert claims_of(userinfo.text)[0]["alg"] == "ES256"


def test_default_max_age_counts_where_a_request_says_nothing(
    ada: Browser, enrol: PostRegistration, clock: Clock
) -> None:
    """§2: max_age of the request overrides it."""
    ada.client = registered(enrol(default_max_age=60))
    ada.obtain_tokens(scope=("openid",))
    clock.forward(seconds=120)

    assert "error=login_required" in ada.authorize(prompt="none").location
    assert "code=" in ada.authorize(prompt="none", scope="openid", max_age="300").location


def test_require_auth_time_is_met(ada: Browser, enrol: PostRegistration) -> None:
    """§2."""
    ada.client = registered(enrol(require_auth_time=True))

    assert isinstance(claims_of(ada.obtain_tokens(scope=("openid",))["id_token"])[1]["auth_time"], int)


def test_the_sector_must_list_every_redirect_uri(
    enrol: PostRegistration, refuse: ExpectRefusal, site: ClientWebsite
) -> None:
    """§5: the values of redirect_uris MUST be in the array, else an error MUST be returned."""
    uris = [CALLBACK, OTHER_HOST]
    whole = site.publish("/whole.json", [*uris, "https://third.example/back"])
    part = site.publish("/part.json", [CALLBACK])

    answer = enrol(redirect_uris=uris, subject_type="pairwise", sector_identifier_uri=whole)

    assert answer.status_code == 201
    assert answer.json["sector_identifier_uri"] == whole
    refuse("invalid_client_metadata", redirect_uris=uris, sector_identifier_uri=part)


@pytest.mark.parametrize("document", [{}, "x", None, b"{", b"", [[CALLBACK]], {"redirect_uris": [CALLBACK]}], ids=str)
def test_a_sector_that_is_no_array_is_refused(refuse: ExpectRefusal, site: ClientWebsite, document: Any) -> None:
    """§5: an array of redirect_uri values."""
    refuse("invalid_client_metadata", sector_identifier_uri=site.publish("/sector.json", document))


def test_a_sector_that_does_not_answer_is_refused(refuse: ExpectRefusal, site: ClientWebsite) -> None:
    """§5."""
    refuse("invalid_client_metadata", sector_identifier_uri=site.url("/nothing"))
    moved = site.publish("/moved", [CALLBACK], 302, Location=site.publish("/sector.json", [CALLBACK]))
    refuse("invalid_client_metadata", sector_identifier_uri=moved)
    assert "/sector.json" not in site.requested_paths


def test_the_sector_is_looked_at_again_when_the_registration_changes(
    http: FlaskClient, enrol: PostRegistration, site: ClientWebsite, runtime: Runtime
) -> None:
    """§5; else a client could grow into a sector that is not its own."""
    sector = site.publish("/sector.json", [CALLBACK])
    answer = enrol(sector_identifier_uri=sector, subject_type="pairwise").json
    sent = {"client_id": answer["client_id"], "redirect_uris": [OTHER_HOST], "sector_identifier_uri": sector}

    refused = call_configuration_endpoint(http, answer, "PUT", json=sent)

    assert refused.json["error"] == "invalid_client_metadata"
    found = clients.find(runtime.store, answer["client_id"], runtime.clock())
    assert found and found.redirect_uris == (CALLBACK,)


def test_pairwise_subjects_of_several_hosts_need_a_sector(refuse: ExpectRefusal, enrol: PostRegistration) -> None:
    """OpenID Connect Core §8.1: the client MUST register a sector_identifier_uri."""
    refuse("invalid_client_metadata", redirect_uris=[CALLBACK, OTHER_HOST], subject_type="pairwise")
    assert enrol(redirect_uris=[CALLBACK, f"{CALLBACK}/2"], subject_type="pairwise").status_code == 201


def test_two_clients_of_one_sector_know_a_person_by_one_subject(
    ada: Browser, enrol: PostRegistration, site: ClientWebsite
) -> None:
    """OpenID Connect Core §8.1: by the host of the sector_identifier_uri; others know the person by another."""
    sector = site.publish("/sector.json", [CALLBACK, OTHER_HOST])
    subjects = []
    for more in ({"sector_identifier_uri": sector}, {"sector_identifier_uri": sector}, {}):
        ada.client = registered(enrol(subject_type="pairwise", **more))
        subjects.append(claims_of(ada.obtain_tokens(scope=("openid",))["id_token"])[1]["sub"])

    assert subjects[0] == subjects[1] != subjects[2]
    assert "ada" not in subjects


def test_the_answer_says_how_to_read_the_registration(http: FlaskClient, enrol: PostRegistration) -> None:
    """§4: client configuration endpoint."""
    answer = enrol().json

    assert call_configuration_endpoint(http, answer).status_code == 200
    assert call_configuration_endpoint(http, answer, token="x").status_code == 401


def asked_by(ada: Browser, **metadata: Any) -> list[str]:
    """The pages on which a person hears of a client: the sign-in for its sake, and the consent."""
    ada.client = registered(ada.http.post("/oauth/register", json={"redirect_uris": [CALLBACK], **metadata}))
    path = ada.authorize(scope="openid").location
    return [ada.get(f"/account/sign-in?next={path}").text, ada.get(path).text]


def test_the_person_is_shown_the_policy_and_the_terms_of_the_client(ada: Browser) -> None:
    """§2: policy_uri, tos_uri; the OpenID Provider SHOULD display them."""
    policy, terms = "https://shop.example/policy", "https://shop.example/terms?a=1&b=2"

    for page in asked_by(ada, policy_uri=policy, tos_uri=terms):
        assert f'<a href="{policy}" rel="noopener noreferrer nofollow">' in page
        assert f'<a href="{terms.replace("&", "&amp;")}" rel="noopener noreferrer nofollow">' in page
    for page in asked_by(ada):
        assert "Privacy policy" not in page and "Terms of service" not in page


PICTURES = {
    "image/png": b"\x89PNG\r\n\x1a\n...",
    "image/jpeg": b"\xff\xd8\xff...",
    "image/gif": b"GIF89a...",
    "image/webp": b"RIFF\0\0\0\0WEBP...",
}


@pytest.mark.parametrize("kind", PICTURES)
def test_the_person_is_shown_the_logo_of_the_client_from_here(ada: Browser, site: ClientWebsite, kind: str) -> None:
    """§2: logo_uri SHOULD be displayed; RFC 9700 §4.2.4: no page of ours brings anybody else in."""
    logo = site.publish("/logo", PICTURES[kind], Content_Type="text/html")

    pages = asked_by(ada, logo_uri=logo, redirect_uris=[site.url("/back"), CALLBACK])

    shown = f"/oauth/logo?client_id={ada.client.client_id}"
    assert all(f'<img class="logo" src="{shown}" alt=""' in page and logo not in page for page in pages)
    for _ in range(2):
        answer = ada.get(shown)
        assert (answer.status_code, answer.content_type, answer.data) == (200, kind, PICTURES[kind])
    assert site.requested_paths == ["/logo"], "once"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_a_logo_on_the_host_of_somebody_else_is_not_shown(ada: Browser, site: ClientWebsite) -> None:
    """RFC 7591 §5: else anybody could put on the face of a bank."""
    logo = site.publish("/logo", PICTURES["image/png"])

    assert all('class="logo"' not in page for page in asked_by(ada, logo_uri=logo))
    assert ada.get(f"/oauth/logo?client_id={ada.client.client_id}").status_code == 404
    assert site.requested_paths == []


@pytest.mark.parametrize("document", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<script>", b"", b"\x89PNG"])
def test_what_is_no_picture_is_not_shown(ada: Browser, site: ClientWebsite, document: bytes) -> None:
    """RFC 7591 §5; an SVG may hold a script."""
    logo = site.publish("/logo", document, Content_Type="image/png")
    asked_by(ada, logo_uri=logo, redirect_uris=[site.url("/back"), CALLBACK])

    assert ada.get(f"/oauth/logo?client_id={ada.client.client_id}").status_code == 404


def test_whoever_has_no_logo_has_none(ada: Browser) -> None:
    for query in ("", "?client_id=nobody", f"?client_id={ada.client.client_id}"):
        assert ada.get(f"/oauth/logo{query}").status_code == 404
