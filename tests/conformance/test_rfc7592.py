"""RFC 7592: OAuth 2.0 Dynamic Client Registration Management Protocol."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conformance.registration import PostRegistration, call_configuration_endpoint, created_client
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, Browser, redirect_parameters
from tests.support.store_assertions import assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.service import disable_client, enable_client, register_client
from valetkey.protocol.secret import REGISTRATION_ACCESS_TOKEN, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import clients, registrations
from valetkey.storage.clients import Client

OTHER = "https://shop.example/other"


@pytest.fixture
def shop_information(post_registration: PostRegistration) -> dict[str, Any]:
    """The client information response of a client that registered itself."""
    return dict(post_registration(client_name="Shop", grant_types=["authorization_code", "refresh_token"]).json)


def find_client(runtime: Runtime, information: Any) -> Client:
    client = clients.find(runtime.store, information["client_id"], runtime.clock())
    assert client
    return client


def update(http: FlaskClient, information: Any, token: str | None = None, **metadata: Any) -> Any:
    document = {"client_id": information["client_id"], "redirect_uris": [CALLBACK], **metadata}
    return call_configuration_endpoint(http, information, "PUT", token, json=document)


def test_the_registration_response_has_the_configuration_url_and_token(shop_information: dict[str, Any]) -> None:
    """§3: both are REQUIRED; §1.3: the client MUST NOT construct the URL itself."""
    url = shop_information["registration_client_uri"]

    assert url.startswith("http://127.0.0.1:8000/oauth/register/")
    assert shop_information["registration_access_token"]


def test_a_client_can_read_its_registration(http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§2.1; the secret is not returned again, because only its digest is stored."""
    response = call_configuration_endpoint(http, shop_information)

    omitted = {"client_secret", "client_secret_expires_at"}
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json == {name: value for name, value in shop_information.items() if name not in omitted}


def test_an_update_replaces_all_registered_metadata(http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§2.2: omitted members are treated like null and get their default."""
    response = update(http, shop_information, redirect_uris=[OTHER], client_uri="https://shop.example/")

    assert response.status_code == 200
    assert response.json["redirect_uris"] == [OTHER]
    assert response.json["client_uri"] == "https://shop.example/"
    assert "client_name" not in response.json
    assert response.json["grant_types"] == ["authorization_code"]
    assert response.json["client_id"] == shop_information["client_id"]


def test_an_update_takes_effect_at_once(ada: Browser, http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§2.2."""
    ada.client = created_client(shop_information)
    assert ada.authorize().status_code == 303
    update(http, shop_information, redirect_uris=[OTHER])

    assert ada.authorize().status_code == 400, "the old redirect URI"
    assert ada.authorize(redirect_uri=OTHER).status_code == 303


def test_an_update_rotates_the_registration_access_token(http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§2.2, §5: the previous token is invalid."""
    updated = update(http, shop_information).json

    assert updated["registration_access_token"] != shop_information["registration_access_token"]
    assert call_configuration_endpoint(http, shop_information).status_code == 401
    assert update(http, shop_information).status_code == 401
    assert call_configuration_endpoint(http, shop_information, "DELETE").status_code == 401
    assert call_configuration_endpoint(http, updated).status_code == 200


def test_of_two_updates_with_the_same_token_one_succeeds(
    http: FlaskClient, runtime: Runtime, shop_information: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other requests read the registration before the first one wrote."""
    find = registrations.find
    stale = find(runtime.store, shop_information["client_id"])
    reads = iter((stale, stale, None, stale))  # the second update looks again why it was not written
    monkeypatch.setattr(registrations, "find", lambda *arguments: next(reads) or find(*arguments))

    statuses = [update(http, shop_information, redirect_uris=[uri]).status_code for uri in (CALLBACK, OTHER)]
    deletion = call_configuration_endpoint(http, shop_information, "DELETE")

    assert statuses == [200, 401]
    assert deletion.status_code == 401
    assert find_client(runtime, shop_information).redirect_uris == (CALLBACK,)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_registration_access_token_is_refused_for_another_client(
    http: FlaskClient,
    runtime: Runtime,
    post_registration: PostRegistration,
    shop_information: dict[str, Any],
    method: str,
) -> None:
    """§2: a token is bound to one client."""
    other = post_registration(client_name="Other").json
    document = {"client_id": shop_information["client_id"], "redirect_uris": [OTHER]}

    with assert_store_unchanged(runtime):
        refused = call_configuration_endpoint(
            http, shop_information, method, other["registration_access_token"], json=document
        )

    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    assert find_client(runtime, shop_information).redirect_uris == (CALLBACK,)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_tokens_and_tokens_in_the_query_are_refused(
    http: FlaskClient, ada: Browser, shop_information: dict[str, Any], method: str
) -> None:
    """§2: the token MUST be the bearer token issued for the client, and is not accepted in the URL."""
    access_token = ada.obtain_tokens()["access_token"]
    secret, registration_token = shop_information["client_secret"], shop_information["registration_access_token"]
    path = shop_information["registration_client_uri"].removeprefix("http://127.0.0.1:8000")

    for token in (access_token, secret, generate_secret(REGISTRATION_ACCESS_TOKEN).reveal(), "x"):
        assert call_configuration_endpoint(http, shop_information, method, token, json={}).status_code == 401
    for parameter in ("", f"&access_token={registration_token}", f"&registration_access_token={registration_token}"):
        refused = http.open(path + parameter, method=method, json={})
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == 'Bearer realm="registration"'


def test_a_registration_access_token_is_not_accepted_as_an_access_token(
    http: FlaskClient, shop_information: dict[str, Any]
) -> None:
    """§3."""
    headers = {"Authorization": f"Bearer {shop_information['registration_access_token']}"}

    assert http.get("/api/protected", headers=headers).status_code == 401
    assert http.get("/oauth/userinfo", headers=headers).status_code == 401


def test_an_unknown_client_and_a_wrong_token_get_the_same_response(
    http: FlaskClient, shop_information: dict[str, Any]
) -> None:
    """§2.1: 401 if the client does not exist."""
    url = shop_information["registration_client_uri"].replace(shop_information["client_id"], "unknown")
    unknown_client = call_configuration_endpoint(http, {**shop_information, "registration_client_uri": url})
    wrong_token = call_configuration_endpoint(
        http, shop_information, token=generate_secret(REGISTRATION_ACCESS_TOKEN).reveal()
    )

    assert (
        (unknown_client.status_code, unknown_client.json)
        == (wrong_token.status_code, wrong_token.json)
        == (401, wrong_token.json)
    )


def test_a_client_that_the_operator_created_cannot_be_managed(http: FlaskClient, runtime: Runtime) -> None:
    """§2, §5."""
    created = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    url = f"http://127.0.0.1:8000/oauth/register/client?client_id={created.client_id}"

    refused = call_configuration_endpoint(
        http, {"registration_client_uri": url}, token=generate_secret(REGISTRATION_ACCESS_TOKEN).reveal()
    )

    assert refused.status_code == 401


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"client_id": None}, "invalid_request"),
        ({"client_id": "another"}, "invalid_request"),
        ({"client_secret": "chosen by the client"}, "invalid_client_metadata"),
        ({"client_secret": 5}, "invalid_client_metadata"),
        ({"client_secret": "\ud800"}, "invalid_request"),
        ({"registration_access_token": "x"}, "invalid_request"),
        ({"registration_client_uri": "x"}, "invalid_request"),
        ({"client_secret_expires_at": 0}, "invalid_request"),
        ({"client_id_issued_at": 0}, "invalid_request"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"client_name": "Shop\u202e"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "invalid_client_metadata"),
    ],
    ids=str,
)
def test_a_refused_update_changes_nothing(
    http: FlaskClient, runtime: Runtime, shop_information: dict[str, Any], change: dict[str, Any], error: str
) -> None:
    """§2.2."""
    before = find_client(runtime, shop_information)

    refused = update(http, shop_information, **change)

    assert (refused.status_code, refused.json["error"]) == (400, error)
    assert find_client(runtime, shop_information) == before
    assert call_configuration_endpoint(http, shop_information).status_code == 200, "the token is still valid"


def test_an_update_may_contain_the_issued_secret(http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§2.2: client_secret MUST match the issued one."""
    assert update(http, shop_information, client_secret=shop_information["client_secret"]).status_code == 200


def test_the_secret_stays_valid_after_an_update(http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§2.2."""
    response = update(http, shop_information)
    auth = (shop_information["client_id"], shop_information["client_secret"])

    assert "client_secret" not in response.json
    assert http.post("/oauth/introspect", data={"token": "any"}, auth=auth).status_code == 200


def test_a_change_to_public_removes_the_secret_and_a_change_to_confidential_issues_one(
    http: FlaskClient, shop_information: dict[str, Any]
) -> None:
    """§2.2."""
    auth = (shop_information["client_id"], shop_information["client_secret"])
    public = update(http, shop_information, token_endpoint_auth_method="none").json
    assert http.post("/oauth/revoke", data={"token": "any"}, auth=auth).status_code == 401

    confidential = update(http, public).json

    assert confidential["client_secret"] not in {None, shop_information["client_secret"]}
    auth = (confidential["client_id"], confidential["client_secret"])
    assert http.post("/oauth/introspect", data={"token": "any"}, auth=auth).status_code == 200


def test_deleting_a_client_revokes_its_codes_and_tokens(
    ada: Browser, http: FlaskClient, runtime: Runtime, shop_information: dict[str, Any]
) -> None:
    """§2.3: 204; codes, access tokens and refresh tokens are invalid afterwards."""
    ada.client = created_client(shop_information)
    tokens = ada.obtain_tokens()
    assert ada.call(tokens["access_token"]).status_code == 200

    deletion = call_configuration_endpoint(http, shop_information, "DELETE")

    assert (deletion.status_code, deletion.data) == (204, b"")
    assert ada.call(tokens["access_token"]).status_code == 401
    assert ada.refresh(tokens["refresh_token"]).status_code == 401
    assert ada.authorize().status_code == 400
    assert call_configuration_endpoint(http, shop_information).status_code == 401
    assert count_rows(runtime.store, "valetkey_registrations") == 0
    assert clients.find(runtime.store, shop_information["client_id"], runtime.clock()) is None


def test_a_client_that_the_operator_disabled_cannot_enable_itself(
    http: FlaskClient, runtime: Runtime, shop_information: dict[str, Any]
) -> None:
    """§2.1: 403 if the client is not allowed."""
    disable_client(runtime.store, find_client(runtime, shop_information), runtime.clock())

    for method in ("GET", "PUT", "DELETE"):
        document = {"client_id": shop_information["client_id"], "redirect_uris": [CALLBACK]}
        assert call_configuration_endpoint(http, shop_information, method, json=document).status_code == 403
    assert find_client(runtime, shop_information).disabled_at is not None


def test_with_the_policy_approve_an_update_of_an_approved_client_needs_a_new_approval(
    make_app: MakeApp, store_url: str, sign_in_eve: Any
) -> None:
    app = make_app(store_url, registration_policy="approve")
    runtime: Runtime = app.extensions["valetkey"]
    http = app.test_client()
    registration = http.post("/oauth/register", json={"redirect_uris": [CALLBACK], "client_name": "Shop"}).json
    assert call_configuration_endpoint(http, registration).status_code == 200, (
        "a client may read its registration before approval"
    )
    updated = update(http, registration, client_name="Shop")
    assert find_client(runtime, registration).disabled_at is not None, "an update does not enable the client"
    enable_client(runtime.store, find_client(runtime, registration), runtime.clock())

    unchanged = update(http, updated.json, client_name="Shop")
    assert find_client(runtime, registration).disabled_at is None
    eve = sign_in_eve(app, registration)
    token = eve.obtain_tokens()["access_token"]
    assert update(http, unchanged.json, redirect_uris=[OTHER], client_name="Shop").status_code == 200

    assert find_client(runtime, registration).disabled_at is not None
    assert eve.call(token).status_code == 401


@pytest.fixture
def sign_in_eve() -> Any:
    from tests.support.browser_client import sign_in_new_account

    def make(app: Any, information: Any) -> Browser:
        client = created_client(information)
        return sign_in_new_account(
            Browser(app.test_client(), client), app.extensions["valetkey"], "eve@example.org", "Eve"
        )

    return make


def test_a_pending_request_is_not_redirected_to_a_redirect_uri_that_was_removed(
    ada: Browser, http: FlaskClient, shop_information: dict[str, Any]
) -> None:
    """The redirect URI is checked again when the user gives consent."""
    ada.client = created_client(shop_information)
    redirect = ada.authorize()
    update(http, shop_information, redirect_uris=[OTHER])

    response = ada.approve(redirect.location)

    assert response.status_code == 400
    assert "code" not in (redirect_parameters(response) if response.location else {})
