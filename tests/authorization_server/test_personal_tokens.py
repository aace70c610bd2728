"""Personal access tokens: creation, use at the API only, revocation, and management by apps."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, jsonify
from sqlalchemy import null, update

from tests.support.app import MakeApp, Register
from tests.support.browser_client import EMAIL, ISSUER, SCOPES, Browser
from tests.support.clock import Clock
from tests.support.personal_tokens import (
    DAY_S,
    MANAGE_SCOPE,
    TOKEN_REQUEST,
    create_token,
    open_managing_app,
    revoke_token,
    value_of,
)
from tests.support.refusals import check_refusal
from tests.support.store_assertions import assert_store_unchanged
from valetkey import Valetkey, require_oauth
from valetkey.authorization_server.clients.operator_metadata import RegistrationRefused
from valetkey.authorization_server.clients.service import disable_client
from valetkey.authorization_server.personal_tokens.service import (
    TokenSpec,
    create_personal_token,
)
from valetkey.outbound.pruning import prune
from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID
from valetkey.protocol.errors import AccessDenied, InvalidRequest, InvalidScope, InvalidToken
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import accounts, change_feed, clients, personal_access_tokens
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.storage.tables import sessions as sessions_table


@pytest.fixture
def api(app: Flask, register: Register) -> Browser:
    return Browser(app.test_client(), register("machine", name="API"))


def test_an_api_call_with_a_personal_token_acts_as_its_owner(ada: Browser, app: Flask) -> None:
    response = ada.call(value_of(create_token(app)))

    assert response.status_code == 200
    assert response.json == {"user": "ada", "client": PERSONAL_TOKEN_CLIENT_ID}


def test_a_personal_token_is_limited_to_its_scope(ada: Browser, app: Flask) -> None:
    assert ada.call(value_of(create_token(app, "notes:read"))).status_code == 403


def test_invalid_and_expired_personal_tokens_are_refused(ada: Browser, app: Flask, clock: Clock) -> None:
    token = value_of(create_token(app))
    wrong = token[:-1] + ("x" if token[-1] != "x" else "y")
    assert ada.call(wrong).status_code == 401
    assert ada.call("vk_at_" + token.removeprefix("vk_pat_")).status_code == 401
    assert ada.call(token).status_code == 200

    clock.forward(30 * DAY_S - 1)
    assert ada.call(token).status_code == 200
    clock.forward(1)
    assert ada.call(token).status_code == 401


def test_a_revoked_personal_token_is_refused_at_once_and_permanently(ada: Browser, app: Flask, clock: Clock) -> None:
    created = create_token(app, lifetime_s=300 * DAY_S)
    assert ada.call(value_of(created)).status_code == 200

    assert revoke_token(app, created)

    for _ in range(40):  # until long after the change feed entry was pruned
        assert ada.call(value_of(created)).status_code == 401
        clock.forward(59)
    assert not revoke_token(app, created)


def test_another_process_refuses_a_revoked_token_within_a_second_and_permanently(
    make_app: MakeApp, ada: Browser, app: Flask, store_url: str, clock: Clock
) -> None:
    other = Browser(make_app(store_url).test_client(), ada.client)
    created = create_token(app, lifetime_s=300 * DAY_S)
    assert other.call(value_of(created)).status_code == 200

    revoke_token(app, created)

    clock.forward(0.6)
    for _ in range(40):
        assert other.call(value_of(created)).status_code == 401
        clock.forward(59)


def test_revoking_an_owner_revokes_their_personal_tokens(
    ada: Browser, app: Flask, runtime: Runtime, clock: Clock
) -> None:
    token = value_of(create_token(app))
    assert ada.call(token).status_code == 200

    Valetkey.revoke_owner(app, "ada")

    for _ in range(40):  # until long after the change feed entry was pruned
        assert ada.call(token).status_code == 401
        clock.forward(59)
        prune(runtime.store, clock())


def test_tokens_of_a_disabled_owner_are_refused_within_a_minute_without_a_feed_entry(
    ada: Browser, app: Flask, runtime: Runtime, clock: Clock
) -> None:
    token = value_of(create_token(app))
    assert ada.call(token).status_code == 200
    runtime.store.write(Transaction(rows=(accounts.set_disabled("ada", clock()),)))

    clock.forward(60)

    assert ada.call(token).status_code == 401
    with pytest.raises(AccessDenied):
        create_token(app)


def test_a_personal_token_is_read_once_until_the_whole_change_feed_is_read(
    ada: Browser, app: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, find_active, reads = value_of(create_token(app)), personal_access_tokens.find_active, []

    def count_reads(*arguments: Any) -> Any:
        reads.append(arguments)
        return find_active(*arguments)

    ada.call(token)  # reads the feed
    monkeypatch.setattr(personal_access_tokens, "find_active", count_reads)
    for _ in range(50):
        assert ada.call(token).status_code == 200
        clock.forward(60)
    assert len(reads) == 0

    for _ in range(20):
        assert ada.call(token).status_code == 200
        clock.forward(60)

    assert len(reads) == 1


def test_a_cached_personal_token_is_refused_when_it_has_expired(ada: Browser, app: Flask, clock: Clock) -> None:
    token = value_of(create_token(app, lifetime_s=DAY_S))
    clock.forward(DAY_S - 1)
    assert ada.call(token).status_code == 200

    clock.forward(1)

    assert ada.call(token).status_code == 401


def test_a_disabled_owner_ends_a_cached_personal_token_also_if_callers_do_not_check_owners(
    ada: Browser, app: Flask, runtime: Runtime, clock: Clock
) -> None:
    token = value_of(create_token(app))
    runtime.verifier.verify(token, clock(), check_owner=False)
    runtime.store.write(Transaction(rows=(accounts.set_disabled("ada", clock()),)))

    clock.forward(60)

    with pytest.raises(InvalidToken):
        runtime.verifier.verify(token, clock(), check_owner=False)


def test_a_personal_token_that_the_change_feed_revokes_is_refused_whatever_its_row_says(
    ada: Browser, app: Flask, runtime: Runtime
) -> None:
    token = value_of(create_token(app))
    jti = runtime.verifier.verify(token, runtime.clock()).jti

    runtime.store.write_all(change_feed.add("token", jti))

    assert ada.call(token).status_code == 401


def test_a_cached_personal_token_that_its_owners_revocation_left_valid_is_read_again(
    ada: Browser, app: Flask, runtime: Runtime, clock: Clock
) -> None:
    token = value_of(create_token(app))
    assert ada.call(token).status_code == 200

    runtime.store.write_all(accounts.set_disabled("ada", clock()), change_feed.add("owner", "ada"))
    assert ada.call(token).status_code == 401
    runtime.store.write_all(accounts.set_disabled("ada", None), change_feed.add("owner", "ada"))

    assert ada.call(token).status_code == 200


def test_a_store_outage_returns_503_unless_the_settings_accept_outages(
    make_app: MakeApp, ada: Browser, app: Flask, store_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepting = make_app(store_url, revocation_outage="accept")
    token = value_of(create_token(app))
    browsers = [Browser(running_app.test_client(), ada.client) for running_app in (app, accepting)]
    assert [browser.call(token).status_code for browser in browsers] == [200, 200]

    def down(*_: Any) -> Any:
        raise StoreUnavailable("down")

    for running_app in (app, accepting):
        monkeypatch.setattr(running_app.extensions["valetkey"].store, "fetch_all", down)
    clock.forward(61)

    assert [browser.call(token).status_code for browser in browsers] == [503, 200]


def test_a_route_that_requires_a_recent_sign_in_refuses_personal_tokens(ada: Browser, app: Flask) -> None:
    app.add_url_rule("/api/careful", view_func=require_oauth("profile", max_age=3600)(lambda: jsonify(ok=True)))

    refused = ada.call(value_of(create_token(app)), path="/api/careful")

    assert refused.status_code == 401
    assert "insufficient_user_authentication" in refused.headers["WWW-Authenticate"]


def test_all_personal_tokens_of_an_owner_share_one_limit(ada: Browser, app: Flask) -> None:
    view = require_oauth("profile", limit="1/hour burst 1")(lambda: jsonify(ok=True))
    app.add_url_rule("/api/few", view_func=view)
    first, second = (value_of(create_token(app)) for _ in range(2))

    assert ada.call(first, path="/api/few").status_code == 200
    assert ada.call(second, path="/api/few").status_code == 429


def test_the_last_use_is_stored(ada: Browser, app: Flask, runtime: Runtime, clock: Clock) -> None:
    created = create_token(app)
    clock.forward(5)

    ada.call(value_of(created))
    runtime.usage.flush()

    stored = personal_access_tokens.find(runtime.store, created.token.token_id)
    assert stored and stored.last_used_at == clock()


def test_a_personal_token_is_stored_as_a_digest_only(app: Flask, ada: Browser, runtime: Runtime) -> None:
    created = create_token(app)

    stored = personal_access_tokens.find(runtime.store, created.token.token_id)

    assert stored and stored == created.token
    assert value_of(created) not in repr(stored)
    assert stored.prefix == value_of(created)[:11]


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"name": ""}, InvalidRequest),
        ({"name": "a\nb"}, InvalidRequest),
        ({"name": "x" * 101}, InvalidRequest),
        ({"scope": frozenset()}, InvalidScope),
        ({"scope": frozenset({"root"})}, InvalidScope),
        ({"scope": frozenset({"openid"})}, InvalidScope),
        ({"scope": frozenset({"offline_access"})}, InvalidScope),
        ({"expires_at": 0.0}, InvalidRequest),
        ({"expires_at": 1_900_000_000.0 + 365 * DAY_S + 1}, InvalidRequest),
    ],
)
def test_an_invalid_personal_token_is_not_created(
    ada: Browser, app: Flask, runtime: Runtime, changes: dict[str, Any], refusal: type[Exception]
) -> None:
    good = {"name": "Backup", "scope": frozenset({"profile"}), "expires_at": runtime.clock() + DAY_S}
    with assert_store_unchanged(runtime), app.test_request_context(), pytest.raises(refusal):
        create_personal_token(TokenSpec(**{**good, **changes}), Owner("ada"), runtime, runtime.clock(), None)


def test_a_form_submitted_twice_creates_one_token(ada: Browser, app: Flask, runtime: Runtime) -> None:
    create_token(app, submission="form")
    with assert_store_unchanged(runtime), pytest.raises(InvalidRequest, match="already created"):
        create_token(app, submission="form")


def test_an_owner_has_at_most_one_hundred_active_tokens(
    ada: Browser, app: Flask, runtime: Runtime, clock: Clock
) -> None:
    many = [create_token(app, lifetime_s=DAY_S) for _ in range(100)]
    with pytest.raises(InvalidRequest, match="revoke one"):
        create_token(app)

    revoke_token(app, many[0])
    create_token(app)


def test_a_scope_removed_from_the_setting_is_removed_from_existing_tokens(
    ada: Browser, app: Flask, make_app: MakeApp, store_url: str
) -> None:
    token = value_of(create_token(app, "profile", "notes:read"))

    stricter = make_app(store_url, personal_access_token_scopes=("notes:read",))

    assert Browser(stricter.test_client(), ada.client).call(token).status_code == 403


def test_personal_tokens_are_refused_if_they_are_turned_off(
    ada: Browser, app: Flask, make_app: MakeApp, store_url: str
) -> None:
    token = value_of(create_token(app))

    off = make_app(store_url, personal_access_tokens_path=None)

    assert Browser(off.test_client(), ada.client).call(token).status_code == 401


def test_no_client_can_have_the_client_id_of_personal_tokens(register: Register) -> None:
    with pytest.raises(RegistrationRefused, match="reserved for personal access tokens"):
        register(client_id=PERSONAL_TOKEN_CLIENT_ID)


def test_a_personal_token_is_not_accepted_as_another_credential(ada: Browser, app: Flask, runtime: Runtime) -> None:
    token, refresh = value_of(create_token(app)), ada.obtain_tokens()["refresh_token"]
    with assert_store_unchanged(runtime):
        check_refusal(ada.refresh(token), "invalid_grant", 400)
        check_refusal(ada.redeem(token), "invalid_grant", 400)
        userinfo = ada.call(token, path="/oauth/userinfo")
        assert (userinfo.status_code, userinfo.json["error"]) == (403, "insufficient_scope")
        registered = ada.http.post("/oauth/register", json={}, headers={"Authorization": f"Bearer {token}"})
        assert registered.status_code == 401
        wrong = ada.http.post("/oauth/introspect", data={"token": "x"}, auth=(ada.client.client_id, token))
        check_refusal(wrong, "invalid_client", 401)
        as_client = ada.http.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, auth=(PERSONAL_TOKEN_CLIENT_ID, token)
        )
        check_refusal(as_client, "invalid_client", 401)
    assert ada.call(refresh).status_code == 401


def test_a_service_can_introspect_a_personal_token(ada: Browser, app: Flask, api: Browser, clock: Clock) -> None:
    """RFC 7662 §2.2."""
    created = create_token(app)

    response = api.introspect(value_of(created)).json

    assert response == {
        "active": True,
        "token_type": "Bearer",
        "iss": ISSUER,
        "sub": "ada",
        "aud": ISSUER,
        "client_id": PERSONAL_TOKEN_CLIENT_ID,
        "iat": int(clock()),
        "exp": int(clock() + 30 * DAY_S),
        "jti": created.token.token_id,
        "scope": "profile",
    }
    assert ada.introspect(value_of(created)).json == {"active": False}, "only services may introspect it"
    revoke_token(app, created)
    assert api.introspect(value_of(created)).json == {"active": False}


def test_introspection_reports_the_token_of_a_disabled_owner_as_inactive_at_once(
    ada: Browser, app: Flask, api: Browser, runtime: Runtime, clock: Clock
) -> None:
    token = value_of(create_token(app))
    assert api.introspect(token).json["active"] is True
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account
    runtime.store.write(Transaction(rows=(accounts.set_disabled(account.sub, clock()),)))

    assert api.introspect(token).json == {"active": False}


def test_the_bearer_can_revoke_a_personal_token(ada: Browser, app: Flask) -> None:
    """RFC 7009 §2.1; without client authentication, because there is no client."""
    token = value_of(create_token(app))

    revoked = ada.http.post("/oauth/revoke", data={"token": token})

    assert revoked.status_code == 200
    assert ada.call(token).status_code == 401
    assert ada.http.post("/oauth/revoke", data={"token": token}).status_code == 200


# Management of personal access tokens by apps


@pytest.fixture
def managing_app(make_app: MakeApp, store_url: str) -> Flask:
    """A server whose settings let clients manage personal access tokens."""
    scopes = {**SCOPES, MANAGE_SCOPE: "Make and revoke your personal access tokens"}
    return make_app(store_url, scopes=scopes, personal_access_token_api_scope=MANAGE_SCOPE)


def test_an_app_can_create_list_and_revoke_personal_tokens(ada: Browser, managing_app: Flask, clock: Clock) -> None:
    browser, header = open_managing_app(ada, managing_app, "profile")

    created = browser.http.post("/oauth/personal-tokens", json=TOKEN_REQUEST, headers=header)

    assert created.status_code == 201, created.text
    assert created.headers["Cache-Control"] == "no-store"
    token = created.json["token"]
    assert browser.call(token).status_code == 200
    (listed,) = browser.http.get("/oauth/personal-tokens", headers=header).json["tokens"]
    assert listed == {name: member for name, member in created.json.items() if name != "token"}
    assert (listed["name"], listed["state"], listed["expires_at"]) == ("CI", "active", int(clock()) + 86400)

    ended = browser.http.delete(f"/oauth/personal-tokens/{listed['id']}", headers=header)

    assert (ended.status_code, ended.data) == (204, b"")
    assert browser.call(token).status_code == 401
    assert browser.http.get("/oauth/personal-tokens", headers=header).json["tokens"][0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"scope": "profile notes:read"}, "invalid_scope"),  # the calling token has no notes:read
        ({"scope": MANAGE_SCOPE}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": ["profile"]}, "invalid_request"),
        ({"name": 7}, "invalid_request"),
        ({"name": "G\u043eogle"}, "invalid_request"),  # Cyrillic o
        ({"expires_in": 0}, "invalid_request"),
        ({"expires_in": True}, "invalid_request"),
        ({"expires_in": 10**9}, "invalid_request"),
        ({"expires_in": "86400"}, "invalid_request"),
    ],
)
def test_an_app_cannot_create_a_token_beyond_its_own_scope_or_with_invalid_members(
    ada: Browser, managing_app: Flask, change: dict[str, Any], error: str
) -> None:
    browser, header = open_managing_app(ada, managing_app, "profile")
    runtime: Runtime = managing_app.extensions["valetkey"]
    with assert_store_unchanged(runtime):
        refused = browser.http.post("/oauth/personal-tokens", json={**TOKEN_REQUEST, **change}, headers=header)

    assert refused.status_code == 400
    assert refused.json["error"] == error
    assert refused.json["error_description"].isascii()  # RFC 6749 §5.2


def test_a_personal_token_cannot_manage_personal_tokens(ada: Browser, managing_app: Flask) -> None:
    browser, header = open_managing_app(ada, managing_app, "profile")
    token = browser.http.post("/oauth/personal-tokens", json=TOKEN_REQUEST, headers=header).json["token"]

    for method in ("GET", "POST"):
        refused = browser.http.open(
            "/oauth/personal-tokens", method=method, json=TOKEN_REQUEST, headers={"Authorization": f"Bearer {token}"}
        )
        assert refused.status_code == 403
        assert f'scope="{MANAGE_SCOPE}"' in refused.headers["WWW-Authenticate"]


def test_managing_tokens_requires_the_scope_and_a_user(ada: Browser, managing_app: Flask, register: Register) -> None:
    browser, _ = open_managing_app(ada, managing_app, "profile")
    plain = browser.obtain_tokens()["access_token"]
    machine_browser = Browser(managing_app.test_client(), register("machine", name="Robot"))
    machine = machine_browser.request_token("client_credentials", scope=MANAGE_SCOPE).json["access_token"]

    assert browser.http.get("/oauth/personal-tokens").status_code == 401
    assert browser.call(plain, path="/oauth/personal-tokens").status_code == 403
    assert browser.call(machine, path="/oauth/personal-tokens").status_code == 401


def test_creating_a_token_requires_a_recent_sign_in(ada: Browser, managing_app: Flask, clock: Clock) -> None:
    clock.forward(3590)
    browser, header = open_managing_app(ada, managing_app, "profile")
    assert browser.http.post("/oauth/personal-tokens", json=TOKEN_REQUEST, headers=header).status_code == 201

    clock.forward(11)
    refused = browser.http.post("/oauth/personal-tokens", json=TOKEN_REQUEST, headers=header)

    assert refused.status_code == 401
    assert 'max_age="3600"' in refused.headers["WWW-Authenticate"]


def test_creating_a_token_requires_a_sign_in_at_a_known_time(ada: Browser, managing_app: Flask) -> None:
    """The session of a provider that does not say when its user signed in."""
    runtime: Runtime = managing_app.extensions["valetkey"]
    runtime.store.write_all(Statement(update(sessions_table).values(auth_time=null()))())
    browser, header = open_managing_app(ada, managing_app, "profile")

    refused = browser.http.post("/oauth/personal-tokens", json=TOKEN_REQUEST, headers=header)

    assert refused.status_code == 401
    assert 'max_age="3600"' in refused.headers["WWW-Authenticate"]


def test_tokens_created_by_an_app_are_revoked_with_its_consent(ada: Browser, managing_app: Flask, clock: Clock) -> None:
    browser, header = open_managing_app(ada, managing_app, "profile")
    token = browser.http.post("/oauth/personal-tokens", json=TOKEN_REQUEST, headers=header).json["token"]
    assert browser.call(token).status_code == 200

    browser.submit(f"/account/revoke?client_id={ada.client.client_id}", {}, page_path="/account")

    for _ in range(40):
        assert browser.call(token).status_code == 401
        clock.forward(59)


def test_tokens_created_by_an_app_are_revoked_when_the_app_is_disabled(
    ada: Browser, managing_app: Flask, app: Flask, clock: Clock
) -> None:
    browser, header = open_managing_app(ada, managing_app, "profile")
    token = browser.http.post("/oauth/personal-tokens", json=TOKEN_REQUEST, headers=header).json["token"]
    assert browser.call(token).status_code == 200
    runtime: Runtime = app.extensions["valetkey"]
    client = clients.find(runtime.store, ada.client.client_id, clock())
    assert client

    disable_client(runtime.store, client, runtime.clock())

    clock.forward(0.6)
    for _ in range(40):
        assert browser.call(token).status_code == 401
        clock.forward(59)


def test_an_app_cannot_revoke_another_owners_token(
    ada: Browser, managing_app: Flask, runtime: Runtime, clock: Clock
) -> None:
    browser, header = open_managing_app(ada, managing_app, "profile")
    runtime.store.write(Transaction(rows=(accounts.add("eve", "eve@example.org", "Eve", None, clock()),)))
    other_token = create_token(managing_app, sub="eve")

    refused = browser.http.delete(f"/oauth/personal-tokens/{other_token.token.token_id}", headers=header)

    assert refused.status_code == 404
    assert browser.call(value_of(other_token)).status_code == 200


@pytest.mark.parametrize(
    "token_id",
    ["%00", "a%00b", "%ED%A0%80", "%FF", "a" * 100_000],
    ids=["NUL", "NUL inside", "surrogate", "not UTF-8", "long"],
)
def test_no_token_is_found_by_an_id_that_a_database_cannot_store(
    ada: Browser, managing_app: Flask, token_id: str
) -> None:
    browser, header = open_managing_app(ada, managing_app, "profile")

    refused = browser.http.delete(f"/oauth/personal-tokens/{token_id}", headers=header)

    assert (refused.status_code, refused.json["error"]) == (404, "invalid_request")


def test_the_endpoint_returns_404_unless_a_scope_is_configured(ada: Browser) -> None:
    token = ada.obtain_tokens()["access_token"]

    for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/x")):
        response = ada.http.open(
            f"/oauth/personal-tokens{path}", method=method, json={}, headers={"Authorization": f"Bearer {token}"}
        )
        assert response.status_code == 404
