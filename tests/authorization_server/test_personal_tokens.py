"""Personal access tokens: good for the API and nothing else, dead within a second, never one that makes another."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask, jsonify

from tests.authorization_server.test_code_refusals import check_refusal
from tests.conftest import MakeApp, Register
from tests.support.browser_client import EMAIL, ISSUER, SCOPES, Browser, Clock, assert_store_unchanged
from valetkey import Valetkey, require_oauth
from valetkey.authorization_server.clients.service import RegistrationRefused, disable_client
from valetkey.authorization_server.personal_tokens.service import (
    CreatedToken,
    TokenSpec,
    create_personal_token,
    revoke_personal_token,
)
from valetkey.outbound.worker import prune
from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID
from valetkey.protocol.errors import AccessDenied, InvalidRequest, InvalidScope
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import accounts, clients, personal_access_tokens
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction

DAY = 86400.0
MANAGE = "tokens:manage"


def make(app: Flask, *scope: str, lives: float = 30 * DAY, sub: str = "ada", **more: Any) -> CreatedToken:
    """A token of Ada's."""
    runtime: Runtime = app.extensions["valetkey"]
    now = runtime.clock()
    wish = TokenSpec("Backup", frozenset(scope or ("profile",)), now + lives, **more)
    with app.test_request_context():
        return create_personal_token(wish, Owner(sub), runtime, now, "192.0.2.1")


def value(made: CreatedToken) -> str:
    return made.secret.reveal()


def revoke(app: Flask, made: CreatedToken) -> bool:
    runtime: Runtime = app.extensions["valetkey"]
    return revoke_personal_token(made.token, runtime, runtime.clock(), None)


@pytest.fixture
def api(app: Flask, register: Register) -> Browser:
    return Browser(app.test_client(), register("machine", name="API"))


def test_the_api_takes_it_as_its_owner(ada: Browser, app: Flask) -> None:
    answer = ada.call(value(make(app)))

    assert answer.status_code == 200
    assert answer.json == {"user": "ada", "client": PERSONAL_TOKEN_CLIENT_ID}


def test_it_opens_only_what_its_scope_says(ada: Browser, app: Flask) -> None:
    assert ada.call(value(make(app, "notes:read"))).status_code == 403


def test_what_is_not_a_living_token_is_refused(ada: Browser, app: Flask, clock: Clock) -> None:
    token = value(make(app))
    wrong = token[:-1] + ("x" if token[-1] != "x" else "y")
    assert ada.call(wrong).status_code == 401
    assert ada.call("vk_at_" + token.removeprefix("vk_pat_")).status_code == 401
    assert ada.call(token).status_code == 200

    clock.forward(30 * DAY - 1)
    assert ada.call(token).status_code == 200
    clock.forward(1)
    assert ada.call(token).status_code == 401


def test_a_revoked_one_is_refused_at_once_and_for_ever(ada: Browser, app: Flask, clock: Clock) -> None:
    made = make(app, lives=300 * DAY)
    assert ada.call(value(made)).status_code == 200

    assert revoke(app, made)

    for _ in range(40):  # long after the feed has forgotten it
        assert ada.call(value(made)).status_code == 401
        clock.forward(59)
    assert not revoke(app, made)


def test_another_process_refuses_it_within_a_second_and_for_ever(
    make_app: MakeApp, ada: Browser, app: Flask, store_url: str, clock: Clock
) -> None:
    other = Browser(make_app(store_url).test_client(), ada.client)
    made = make(app, lives=300 * DAY)
    assert other.call(value(made)).status_code == 200

    revoke(app, made)

    clock.forward(0.6)
    for _ in range(40):
        assert other.call(value(made)).status_code == 401
        clock.forward(59)


def test_whoever_is_put_out_takes_the_tokens_along(ada: Browser, app: Flask, runtime: Runtime, clock: Clock) -> None:
    token = value(make(app))
    assert ada.call(token).status_code == 200

    Valetkey.revoke_owner(app, "ada")

    for _ in range(40):  # long after the feed has forgotten it
        assert ada.call(token).status_code == 401
        clock.forward(59)
        prune(runtime.store, clock())


def test_an_owner_who_is_gone_without_a_word_is_out_within_a_minute(
    ada: Browser, app: Flask, runtime: Runtime, clock: Clock
) -> None:
    token = value(make(app))
    assert ada.call(token).status_code == 200
    runtime.store.write(Transaction(rows=(accounts.set_disabled("ada", clock()),)))

    clock.forward(60)

    assert ada.call(token).status_code == 401
    with pytest.raises(AccessDenied):
        make(app)


def test_a_store_that_is_down_is_a_503_unless_outages_are_accepted(
    make_app: MakeApp, ada: Browser, app: Flask, store_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepting = make_app(store_url, revocation_outage="accept")
    token = value(make(app))
    browsers = [Browser(one.test_client(), ada.client) for one in (app, accepting)]
    assert [one.call(token).status_code for one in browsers] == [200, 200]

    def down(*_: Any) -> Any:
        raise StoreUnavailable("down")

    for one in (app, accepting):
        monkeypatch.setattr(one.extensions["valetkey"].store, "fetch_all", down)
    clock.forward(61)

    assert [one.call(token).status_code for one in browsers] == [503, 200]


def test_a_route_that_asks_how_one_signed_in_refuses_it(ada: Browser, app: Flask) -> None:
    app.add_url_rule("/api/careful", view_func=require_oauth("profile", max_age=3600)(lambda: jsonify(ok=True)))

    refused = ada.call(value(make(app)), path="/api/careful")

    assert refused.status_code == 401
    assert "insufficient_user_authentication" in refused.headers["WWW-Authenticate"]


def test_limits_are_the_persons_and_not_the_tokens(ada: Browser, app: Flask) -> None:
    view = require_oauth("profile", limit="1/hour burst 1")(lambda: jsonify(ok=True))
    app.add_url_rule("/api/few", view_func=view)
    first, second = (value(make(app)) for _ in range(2))

    assert ada.call(first, path="/api/few").status_code == 200
    assert ada.call(second, path="/api/few").status_code == 429


def test_last_use_is_kept(ada: Browser, app: Flask, runtime: Runtime, clock: Clock) -> None:
    made = make(app)
    clock.forward(5)

    ada.call(value(made))
    runtime.last_used.flush()

    kept = personal_access_tokens.find(runtime.store, made.token.token_id)
    assert kept and kept.last_used_at == clock()


def test_it_is_kept_as_a_digest_only(app: Flask, ada: Browser, runtime: Runtime) -> None:
    made = make(app)

    kept = personal_access_tokens.find(runtime.store, made.token.token_id)

    assert kept and kept == made.token
    assert value(made) not in repr(kept)
    assert kept.prefix == value(made)[:11]


@pytest.mark.parametrize(
    ("wish", "refusal"),
    [
        ({"name": ""}, InvalidRequest),
        ({"name": "a\nb"}, InvalidRequest),
        ({"name": "x" * 101}, InvalidRequest),
        ({"scope": frozenset()}, InvalidScope),
        ({"scope": frozenset({"root"})}, InvalidScope),
        ({"scope": frozenset({"openid"})}, InvalidScope),
        ({"scope": frozenset({"offline_access"})}, InvalidScope),
        ({"expires_at": 0.0}, InvalidRequest),
        ({"expires_at": 1_900_000_000.0 + 365 * DAY + 1}, InvalidRequest),
    ],
)
def test_what_cannot_be_is_not_made(
    ada: Browser, app: Flask, runtime: Runtime, wish: dict[str, Any], refusal: type[Exception]
) -> None:
    good = {"name": "Backup", "scope": frozenset({"profile"}), "expires_at": runtime.clock() + DAY}
    with assert_store_unchanged(runtime), app.test_request_context(), pytest.raises(refusal):
        create_personal_token(TokenSpec(**{**good, **wish}), Owner("ada"), runtime, runtime.clock(), None)


def test_a_form_that_comes_twice_makes_one_token(ada: Browser, app: Flask, runtime: Runtime) -> None:
    make(app, token_id="form")
    with assert_store_unchanged(runtime), pytest.raises(InvalidRequest, match="made already"):
        make(app, token_id="form")


def test_nobody_has_more_than_a_hundred(ada: Browser, app: Flask, runtime: Runtime, clock: Clock) -> None:
    many = [make(app, lives=DAY) for _ in range(100)]
    with pytest.raises(InvalidRequest, match="revoke one"):
        make(app)

    revoke(app, many[0])
    make(app)


def test_a_scope_taken_off_the_list_is_taken_from_the_tokens(
    ada: Browser, app: Flask, make_app: MakeApp, store_url: str
) -> None:
    token = value(make(app, "profile", "notes:read"))

    stricter = make_app(store_url, personal_access_token_scopes=("notes:read",))

    assert Browser(stricter.test_client(), ada.client).call(token).status_code == 403


def test_where_they_are_off_none_is_accepted(ada: Browser, app: Flask, make_app: MakeApp, store_url: str) -> None:
    token = value(make(app))

    off = make_app(store_url, personal_access_tokens_path=None)

    assert Browser(off.test_client(), ada.client).call(token).status_code == 401


def test_no_client_bears_their_name(register: Register) -> None:
    with pytest.raises(RegistrationRefused, match="reserved for personal access tokens"):
        register(client_id=PERSONAL_TOKEN_CLIENT_ID)


def test_it_is_not_another_kind_of_token(ada: Browser, app: Flask, runtime: Runtime) -> None:
    token, refresh = value(make(app)), ada.obtain_tokens()["refresh_token"]
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


def test_introspection_tells_a_service_what_it_is(ada: Browser, app: Flask, api: Browser, clock: Clock) -> None:
    """RFC 7662 §2.2."""
    made = make(app)

    told = api.introspect(value(made)).json

    assert told == {
        "active": True,
        "token_type": "Bearer",
        "iss": ISSUER,
        "sub": "ada",
        "aud": ISSUER,
        "client_id": PERSONAL_TOKEN_CLIENT_ID,
        "iat": int(clock()),
        "exp": int(clock() + 30 * DAY),
        "jti": made.token.token_id,
        "scope": "profile",
    }
    assert ada.introspect(value(made)).json == {"active": False}, "a web app has no business with it"
    revoke(app, made)
    assert api.introspect(value(made)).json == {"active": False}


def test_introspection_heeds_a_disabled_owner_at_once(
    ada: Browser, app: Flask, api: Browser, runtime: Runtime, clock: Clock
) -> None:
    token = value(make(app))
    assert api.introspect(token).json["active"] is True
    account = accounts.find_by_email(runtime.store, EMAIL)
    assert account
    runtime.store.write(Transaction(rows=(accounts.set_disabled(account.sub, clock()),)))

    assert api.introspect(token).json == {"active": False}


def test_whoever_holds_it_may_revoke_it(ada: Browser, app: Flask) -> None:
    """RFC 7009 §2.1, without a client: there is none."""
    token = value(make(app))

    revoked = ada.http.post("/oauth/revoke", data={"token": token})

    assert revoked.status_code == 200
    assert ada.call(token).status_code == 401
    assert ada.http.post("/oauth/revoke", data={"token": token}).status_code == 200


# Apps that make them


@pytest.fixture
def managed(make_app: MakeApp, store_url: str) -> Flask:
    """An app whose publisher lets apps manage personal access tokens."""
    scopes = {**SCOPES, MANAGE: "Make and revoke your personal access tokens"}
    return make_app(store_url, scopes=scopes, personal_access_token_api_scope=MANAGE)


def manager(ada: Browser, managed: Flask, *scope: str) -> tuple[Browser, dict[str, str]]:
    """Ada's browser at that app, and the header of a token that may manage."""
    there = Browser(managed.test_client(), ada.client)
    for cookie in ("valetkey_browser", "valetkey_session"):
        found = ada.http.get_cookie(cookie)
        assert found
        there.http.set_cookie(cookie, found.value)
    token = there.obtain_tokens(scope=(*scope, MANAGE))["access_token"]
    return there, {"Authorization": f"Bearer {token}"}


WISH = {"name": "CI", "scope": "profile", "expires_in": 86400}


def test_an_app_makes_lists_and_revokes(ada: Browser, managed: Flask, clock: Clock) -> None:
    there, header = manager(ada, managed, "profile")

    made = there.http.post("/oauth/personal-tokens", json=WISH, headers=header)

    assert made.status_code == 201, made.text
    assert made.headers["Cache-Control"] == "no-store"
    token = made.json["token"]
    assert there.call(token).status_code == 200
    (listed,) = there.http.get("/oauth/personal-tokens", headers=header).json["tokens"]
    assert listed == {name: told for name, told in made.json.items() if name != "token"}
    assert (listed["name"], listed["state"], listed["expires_at"]) == ("CI", "active", int(clock()) + 86400)

    ended = there.http.delete(f"/oauth/personal-tokens/{listed['id']}", headers=header)

    assert (ended.status_code, ended.data) == (204, b"")
    assert there.call(token).status_code == 401
    assert there.http.get("/oauth/personal-tokens", headers=header).json["tokens"][0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"scope": "profile notes:read"}, "invalid_scope"),  # the calling token has no notes:read
        ({"scope": MANAGE}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": ["profile"]}, "invalid_request"),
        ({"name": 7}, "invalid_request"),
        ({"expires_in": 0}, "invalid_request"),
        ({"expires_in": True}, "invalid_request"),
        ({"expires_in": 10**9}, "invalid_request"),
        ({"expires_in": "86400"}, "invalid_request"),
    ],
)
def test_nothing_stronger_is_made(ada: Browser, managed: Flask, change: dict[str, Any], error: str) -> None:
    there, header = manager(ada, managed, "profile")
    runtime: Runtime = managed.extensions["valetkey"]
    with assert_store_unchanged(runtime):
        refused = there.http.post("/oauth/personal-tokens", json={**WISH, **change}, headers=header)

    assert refused.status_code == 400
    assert refused.json["error"] == error


def test_a_personal_token_makes_no_other(ada: Browser, managed: Flask) -> None:
    there, header = manager(ada, managed, "profile")
    token = there.http.post("/oauth/personal-tokens", json=WISH, headers=header).json["token"]

    for method in ("GET", "POST"):
        refused = there.http.open(
            "/oauth/personal-tokens", method=method, json=WISH, headers={"Authorization": f"Bearer {token}"}
        )
        assert refused.status_code == 403
        assert f'scope="{MANAGE}"' in refused.headers["WWW-Authenticate"]


def test_without_the_scope_or_a_person_nothing_is_told(ada: Browser, managed: Flask, register: Register) -> None:
    there, _ = manager(ada, managed, "profile")
    plain = there.obtain_tokens()["access_token"]
    robot = Browser(managed.test_client(), register("machine", name="Robot"))
    machine = robot.request_token("client_credentials", scope=MANAGE).json["access_token"]

    assert there.http.get("/oauth/personal-tokens").status_code == 401
    assert there.call(plain, path="/oauth/personal-tokens").status_code == 403
    assert there.call(machine, path="/oauth/personal-tokens").status_code == 401


def test_an_old_sign_in_makes_none(ada: Browser, managed: Flask, clock: Clock) -> None:
    clock.forward(3590)
    there, header = manager(ada, managed, "profile")
    assert there.http.post("/oauth/personal-tokens", json=WISH, headers=header).status_code == 201

    clock.forward(11)
    refused = there.http.post("/oauth/personal-tokens", json=WISH, headers=header)

    assert refused.status_code == 401
    assert 'max_age="3600"' in refused.headers["WWW-Authenticate"]


def test_what_an_app_made_ends_with_what_it_was_given(ada: Browser, managed: Flask, clock: Clock) -> None:
    there, header = manager(ada, managed, "profile")
    token = there.http.post("/oauth/personal-tokens", json=WISH, headers=header).json["token"]
    assert there.call(token).status_code == 200

    there.submit(f"/account/revoke?client_id={ada.client.client_id}", {}, page_path="/account")

    for _ in range(40):
        assert there.call(token).status_code == 401
        clock.forward(59)


def test_what_an_app_made_ends_with_the_app(ada: Browser, managed: Flask, app: Flask, clock: Clock) -> None:
    there, header = manager(ada, managed, "profile")
    token = there.http.post("/oauth/personal-tokens", json=WISH, headers=header).json["token"]
    assert there.call(token).status_code == 200
    runtime: Runtime = app.extensions["valetkey"]
    client = clients.find(runtime.store, ada.client.client_id, clock())
    assert client

    disable_client(runtime, client)

    clock.forward(0.6)
    for _ in range(40):
        assert there.call(token).status_code == 401
        clock.forward(59)


def test_another_persons_token_is_none(ada: Browser, managed: Flask, runtime: Runtime, clock: Clock) -> None:
    there, header = manager(ada, managed, "profile")
    runtime.store.write(Transaction(rows=(accounts.add("eve", "eve@example.org", "Eve", None, clock()),)))
    eves = make(managed, sub="eve")

    refused = there.http.delete(f"/oauth/personal-tokens/{eves.token.token_id}", headers=header)

    assert refused.status_code == 404
    assert there.call(value(eves)).status_code == 200


def test_where_no_scope_opens_it_there_is_nothing(ada: Browser) -> None:
    token = ada.obtain_tokens()["access_token"]

    for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/x")):
        answer = ada.http.open(
            f"/oauth/personal-tokens{path}", method=method, json={}, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 404
