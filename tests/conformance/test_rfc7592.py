"""RFC 7592: OAuth 2.0 Dynamic Client Registration Management Protocol."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conformance.registration import PostRegistration, call_configuration_endpoint
from tests.conformance.test_rfc7591 import registered
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, Browser, redirect_parameters
from tests.support.store_assertions import assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.service import disable_client, enable_client, register_client
from valetkey.protocol.secret import REGISTRATION_ACCESS_TOKEN, generate_secret
from valetkey.runtime import Runtime
from valetkey.storage import clients
from valetkey.storage.clients import Client

OTHER = "https://shop.example/other"


@pytest.fixture
def shop_information(enrol: PostRegistration) -> dict[str, Any]:
    """The client information response of a client that registered itself."""
    return dict(enrol(client_name="Shop", grant_types=["authorization_code", "refresh_token"]).json)


def known(runtime: Runtime, information: Any) -> Client:
    client = clients.find(runtime.store, information["client_id"], runtime.clock())
    assert client
    return client


def put(http: FlaskClient, information: Any, token: str | None = None, **metadata: Any) -> Any:
    sent = {"client_id": information["client_id"], "redirect_uris": [CALLBACK], **metadata}
    return call_configuration_endpoint(http, information, "PUT", token, json=sent)


def test_the_answer_to_a_registration_says_where_and_how_it_is_managed(shop_information: dict[str, Any]) -> None:
    """§3: both REQUIRED; the URL's place is the server's (§1.3: it MUST NOT be made up by the client)."""
    url = shop_information["registration_client_uri"]

    assert url.startswith("http://127.0.0.1:8000/oauth/register/")
    assert shop_information["registration_access_token"]


def test_a_client_reads_its_registration(http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§2.1; the secret is kept as a digest, so it is not told again."""
    told = call_configuration_endpoint(http, shop_information)

    secret = {"client_secret", "client_secret_expires_at"}
    assert told.status_code == 200
    assert told.headers["Cache-Control"] == "no-store"
    assert told.json == {name: value for name, value in shop_information.items() if name not in secret}


def test_a_change_takes_the_place_of_all_that_was_registered(
    http: FlaskClient, shop_information: dict[str, Any]
) -> None:
    """§2.2: members that are left out are as if they were null: back to the default."""
    changed = put(http, shop_information, redirect_uris=[OTHER], client_uri="https://shop.example/")

    assert changed.status_code == 200
    assert changed.json["redirect_uris"] == [OTHER]
    assert changed.json["client_uri"] == "https://shop.example/"
    assert "client_name" not in changed.json
    assert changed.json["grant_types"] == ["authorization_code"]
    assert changed.json["client_id"] == shop_information["client_id"]


def test_a_change_counts_at_once(ada: Browser, http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§2.2."""
    ada.client = registered(type("Answer", (), {"json": shop_information}))
    assert ada.authorize().status_code == 303
    put(http, shop_information, redirect_uris=[OTHER])

    assert ada.authorize().status_code == 400, "the old redirect URI"
    assert ada.authorize(redirect_uri=OTHER).status_code == 303


def test_the_token_is_another_after_a_change(http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§2.2, §5: rotated; the old one opens nothing."""
    changed = put(http, shop_information).json

    assert changed["registration_access_token"] != shop_information["registration_access_token"]
    assert call_configuration_endpoint(http, shop_information).status_code == 401
    assert put(http, shop_information).status_code == 401
    assert call_configuration_endpoint(http, shop_information, "DELETE").status_code == 401
    assert call_configuration_endpoint(http, changed).status_code == 200


def test_of_two_changes_with_one_token_one_counts(
    http: FlaskClient, runtime: Runtime, shop_information: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second has read the registration before the first wrote."""
    from valetkey.storage import registrations

    stale = registrations.find(runtime.store, shop_information["client_id"])
    monkeypatch.setattr("valetkey.storage.registrations.find", lambda *_: stale)

    statuses = [put(http, shop_information, redirect_uris=[uri]).status_code for uri in (CALLBACK, OTHER)]
    removed = call_configuration_endpoint(http, shop_information, "DELETE")

    assert statuses == [200, 401]
    assert removed.status_code == 401
    assert known(runtime, shop_information).redirect_uris == (CALLBACK,)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_the_token_of_one_client_does_nothing_to_another(
    http: FlaskClient, runtime: Runtime, enrol: PostRegistration, shop_information: dict[str, Any], method: str
) -> None:
    """§2: the token is bound to the one client."""
    other = enrol(client_name="Other").json
    sent = {"client_id": shop_information["client_id"], "redirect_uris": [OTHER]}

    with assert_store_unchanged(runtime):
        refused = call_configuration_endpoint(
            http, shop_information, method, other["registration_access_token"], json=sent
        )

    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    assert known(runtime, shop_information).redirect_uris == (CALLBACK,)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_a_registration_access_token_opens_it(
    http: FlaskClient, ada: Browser, shop_information: dict[str, Any], method: str
) -> None:
    """§2: MUST be a bearer token that was issued for this; never in the URL."""
    access = ada.obtain_tokens()["access_token"]
    secret, right = shop_information["client_secret"], shop_information["registration_access_token"]
    path = shop_information["registration_client_uri"].removeprefix("http://127.0.0.1:8000")

    for token in (access, secret, generate_secret(REGISTRATION_ACCESS_TOKEN).reveal(), "x"):
        assert call_configuration_endpoint(http, shop_information, method, token, json={}).status_code == 401
    for more in ("", f"&access_token={right}", f"&registration_access_token={right}"):
        refused = http.open(path + more, method=method, json={})
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == 'Bearer realm="registration"'


def test_a_registration_access_token_is_no_access_token(http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§3."""
    headers = {"Authorization": f"Bearer {shop_information['registration_access_token']}"}

    assert http.get("/api/protected", headers=headers).status_code == 401
    assert http.get("/oauth/userinfo", headers=headers).status_code == 401


def test_a_client_that_is_not_known_is_refused_as_a_wrong_token_is(
    http: FlaskClient, shop_information: dict[str, Any]
) -> None:
    """§2.1: 401 where the client does not exist."""
    url = shop_information["registration_client_uri"].replace(shop_information["client_id"], "nobody")
    nobody = call_configuration_endpoint(http, {**shop_information, "registration_client_uri": url})
    wrong = call_configuration_endpoint(
        http, shop_information, token=generate_secret(REGISTRATION_ACCESS_TOKEN).reveal()
    )

    assert (nobody.status_code, nobody.json) == (wrong.status_code, wrong.json) == (401, wrong.json)


def test_a_client_of_the_operators_cannot_be_managed(http: FlaskClient, runtime: Runtime) -> None:
    """§2, §5."""
    made = register_client(runtime, name="Shop", policy="web", redirect_uris=[CALLBACK])
    url = f"http://127.0.0.1:8000/oauth/register/client?client_id={made.client_id}"

    refused = call_configuration_endpoint(
        http, {"registration_client_uri": url}, token=generate_secret(REGISTRATION_ACCESS_TOKEN).reveal()
    )

    assert refused.status_code == 401


@pytest.mark.parametrize(
    ("wrong", "error"),
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
def test_a_change_that_cannot_be_made_changes_nothing(
    http: FlaskClient, runtime: Runtime, shop_information: dict[str, Any], wrong: dict[str, Any], error: str
) -> None:
    """§2.2."""
    before = known(runtime, shop_information)

    refused = put(http, shop_information, **wrong)

    assert (refused.status_code, refused.json["error"]) == (400, error)
    assert known(runtime, shop_information) == before
    assert call_configuration_endpoint(http, shop_information).status_code == 200, "the token is still good"


def test_the_secret_that_was_issued_may_be_sent_again(http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§2.2: it MUST match."""
    assert put(http, shop_information, client_secret=shop_information["client_secret"]).status_code == 200


def test_the_secret_stays_good_after_a_change(http: FlaskClient, shop_information: dict[str, Any]) -> None:
    """§2.2."""
    changed = put(http, shop_information)
    auth = (shop_information["client_id"], shop_information["client_secret"])

    assert "client_secret" not in changed.json
    assert http.post("/oauth/introspect", data={"token": "any"}, auth=auth).status_code == 200


def test_who_becomes_public_has_no_secret_left_and_who_becomes_confidential_gets_one(
    http: FlaskClient, shop_information: dict[str, Any]
) -> None:
    """§2.2."""
    auth = (shop_information["client_id"], shop_information["client_secret"])
    public = put(http, shop_information, token_endpoint_auth_method="none").json
    assert http.post("/oauth/revoke", data={"token": "any"}, auth=auth).status_code == 401

    confidential = put(http, public).json

    assert confidential["client_secret"] not in {None, shop_information["client_secret"]}
    auth = (confidential["client_id"], confidential["client_secret"])
    assert http.post("/oauth/introspect", data={"token": "any"}, auth=auth).status_code == 200


def test_a_removed_client_is_gone_with_all_that_it_was_given(
    ada: Browser, http: FlaskClient, runtime: Runtime, shop_information: dict[str, Any]
) -> None:
    """§2.3: 204; codes, tokens and refresh tokens are no good any more."""
    ada.client = registered(type("Answer", (), {"json": shop_information}))
    answer = ada.obtain_tokens()
    assert ada.call(answer["access_token"]).status_code == 200

    removed = call_configuration_endpoint(http, shop_information, "DELETE")

    assert (removed.status_code, removed.data) == (204, b"")
    assert ada.call(answer["access_token"]).status_code == 401
    assert ada.refresh(answer["refresh_token"]).status_code == 401
    assert ada.authorize().status_code == 400
    assert call_configuration_endpoint(http, shop_information).status_code == 401
    assert count_rows(runtime.store, "valetkey_registrations") == 0
    assert clients.find(runtime.store, shop_information["client_id"], runtime.clock()) is None


def test_a_client_that_the_operator_disabled_cannot_let_itself_back_in(
    http: FlaskClient, runtime: Runtime, shop_information: dict[str, Any]
) -> None:
    """§2.1: 403 where the client may not."""
    disable_client(runtime, known(runtime, shop_information))

    for method in ("GET", "PUT", "DELETE"):
        sent = {"client_id": shop_information["client_id"], "redirect_uris": [CALLBACK]}
        assert call_configuration_endpoint(http, shop_information, method, json=sent).status_code == 403
    assert known(runtime, shop_information).disabled_at is not None


def test_what_was_approved_cannot_become_something_else_without_asking(
    make_app: MakeApp, store_url: str, ada_on: Any
) -> None:
    app = make_app(store_url, registration_policy="approve")
    runtime: Runtime = app.extensions["valetkey"]
    http = app.test_client()
    first = http.post("/oauth/register", json={"redirect_uris": [CALLBACK], "client_name": "Shop"}).json
    assert call_configuration_endpoint(http, first).status_code == 200, "it may look while it waits"
    waiting = put(http, first, client_name="Shop")
    assert known(runtime, first).disabled_at is not None, "a change does not let it in"
    enable_client(runtime, known(runtime, first))

    same = put(http, waiting.json, client_name="Shop")
    assert known(runtime, first).disabled_at is None
    ada = ada_on(app, first)
    token = ada.obtain_tokens()["access_token"]
    assert put(http, same.json, redirect_uris=[OTHER], client_name="Shop").status_code == 200

    assert known(runtime, first).disabled_at is not None
    assert ada.call(token).status_code == 401


@pytest.fixture
def ada_on() -> Any:
    from tests.support.browser_client import sign_in_new_account

    def make(app: Any, information: Any) -> Browser:
        made = registered(type("Answer", (), {"json": information}))
        return sign_in_new_account(
            Browser(app.test_client(), made), app.extensions["valetkey"], "eve@example.org", "Eve"
        )

    return make


def test_an_update_binds_what_is_redeemed_later(
    ada: Browser, http: FlaskClient, shop_information: dict[str, Any]
) -> None:
    """A request that waits for consent does not return to a redirect URI that was taken away meanwhile."""
    ada.client = registered(type("Answer", (), {"json": shop_information}))
    asked = ada.authorize()
    put(http, shop_information, redirect_uris=[OTHER])

    answered = ada.approve(asked.location)

    assert answered.status_code == 400
    assert "code" not in (redirect_parameters(answered) if answered.location else {})
