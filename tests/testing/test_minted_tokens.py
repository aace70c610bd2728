"""``valetkey.testing``: tokens without HTTP, which the real guard judges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from flask import Flask, jsonify

from tests.conftest import MakeApp
from tests.support.browser_client import assert_store_unchanged
from valetkey import Plan, SettingsError, Valetkey, current_token, require_oauth
from valetkey.runtime import Runtime
from valetkey.testing import Clock, headers_for, mint_token, prepared_store, throw_away_store
from valetkey.testing.temporary_store import PreparedStore

NOW = 1_900_000_000.0


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedStore:
    return prepared_store(tmp_path_factory.mktemp("prepared-for-publishers"))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """A publisher's app, as it is imported: its settings are for development."""
    monkeypatch.chdir(tmp_path)
    app = Flask("shop")
    plans = {"free": Plan(quota="3/day", scopes="notes:read"), "pro": Plan(quota="1000/day", approval="manual")}
    Valetkey(
        app, scopes={"notes:read": "Read your notes", "notes:write": "Write notes"}, plans=plans, default_plan="free"
    )

    @app.get("/api/notes")
    @require_oauth("notes:read", limit="10/minute burst 2")
    def notes() -> Any:
        return jsonify(of=current_token.user_id, client=current_token.client_id, token=dict(current_token.claims))

    @app.get("/api/vault")
    @require_oauth("notes:read", acr="mfa", max_age=300)
    def vault() -> Any:
        return "open"

    @app.get("/api/elsewhere")
    @require_oauth(resource="https://other.example")
    def elsewhere() -> Any:
        return "there"

    return app


@pytest.fixture
def clock(shop: Flask, prepared: PreparedStore) -> Iterator[Clock]:
    with throw_away_store(shop, clock=Clock(NOW), prepared=prepared) as clock:
        yield clock


def status(app: Flask, path: str, scope: str = "", **asked: Any) -> int:
    return app.test_client().get(path, headers=headers_for(app, scope, **asked)).status_code


def test_a_persons_token_opens_what_its_scope_says(shop: Flask, clock: Clock) -> None:
    answer = shop.test_client().get("/api/notes", headers=headers_for(shop, "notes:read", user_id="ada"))

    assert answer.json is not None
    assert (answer.json["of"], answer.json["client"]) == ("ada", "test-client")
    assert status(shop, "/api/notes", "notes:write", user_id="ada", plan="pro") == 403


def test_a_token_without_a_person_is_a_programs_own(shop: Flask, clock: Clock) -> None:
    answer = shop.test_client().get("/api/notes", headers=headers_for(shop, "notes:read", client_id="robot"))

    assert answer.json is not None
    assert (answer.json["of"], answer.json["client"]) == (None, "robot")


def test_a_token_dies_when_the_clock_says_so(shop: Flask, clock: Clock) -> None:
    headers = headers_for(shop, "notes:read")
    clock.forward(899)
    assert shop.test_client().get("/api/notes", headers=headers).status_code == 200

    clock.forward(1)

    assert shop.test_client().get("/api/notes", headers=headers).status_code == 401


@pytest.mark.parametrize(("expires_in", "expected"), [(60, 200), (-1, 401), (0, 401), (86_400, 200)])
def test_a_token_may_live_as_long_as_a_test_likes(shop: Flask, clock: Clock, expires_in: int, expected: int) -> None:
    assert status(shop, "/api/notes", "notes:read", expires_in=expires_in) == expected


def test_a_route_that_asks_for_a_way_of_signing_in_judges_it(shop: Flask, clock: Clock) -> None:
    asked: dict[str, Any] = {"scope": "notes:read", "user_id": "ada"}

    assert status(shop, "/api/vault", **asked) == 401
    assert status(shop, "/api/vault", **asked, acr="mfa") == 200
    assert status(shop, "/api/vault", **asked, acr="mfa", auth_time=NOW - 301) == 401


def test_a_token_may_be_for_another_api(shop: Flask, clock: Clock) -> None:
    assert status(shop, "/api/elsewhere") == 401
    assert status(shop, "/api/elsewhere", resource="https://other.example") == 200
    assert status(shop, "/api/notes", "notes:read", resource="https://other.example") == 401


def test_limits_hold_and_fill_up_again_with_the_clock(shop: Flask, clock: Clock) -> None:
    headers = headers_for(shop, "notes:read")
    calls = [shop.test_client().get("/api/notes", headers=headers).status_code for _ in range(3)]

    assert calls == [200, 200, 429]
    clock.forward(6)
    assert shop.test_client().get("/api/notes", headers=headers).status_code == 200


def test_an_app_has_the_plan_that_a_test_gives_it(shop: Flask, clock: Clock) -> None:
    def calls(**asked: str) -> list[int]:
        headers = headers_for(shop, "notes:read", acr="mfa", user_id="ada", **asked)
        return [shop.test_client().get("/api/vault", headers=headers).status_code for _ in range(5)]

    assert calls() == [200, 200, 200, 429, 429]
    clock.forward(1)  # for so long a refusal is remembered
    assert calls(plan="pro") == [200] * 5
    assert calls(plan="free", client_id="robot") == [200, 200, 200, 429, 429]
    with pytest.raises(ValueError, match="no plan 'por'; is 'pro' meant"):
        mint_token(shop, plan="por")
    with pytest.raises(ValueError, match="plan of robot has no scope notes:write"):
        mint_token(shop, "notes:write", client_id="robot")


def test_a_person_who_is_put_out_has_no_good_token(shop: Flask, clock: Clock) -> None:
    headers = headers_for(shop, "notes:read", user_id="ada")
    Valetkey.revoke_owner(shop, "ada")

    assert shop.test_client().get("/api/notes", headers=headers).status_code == 401
    clock.forward(2)
    assert status(shop, "/api/notes", "notes:read", user_id="ada") == 200


def test_a_misspelt_scope_is_told_and_nothing_is_written(shop: Flask, clock: Clock) -> None:

    with assert_store_unchanged(shop.extensions["valetkey"]):
        with pytest.raises(ValueError, match="no scope 'notes:raed'; is 'notes:read' meant"):
            mint_token(shop, "notes:raed")
        with pytest.raises(ValueError, match="user_id="):
            mint_token(shop, "notes:read", acr="mfa")


def test_the_app_is_as_before_and_no_file_is_left(shop: Flask, prepared: PreparedStore, tmp_path: Path) -> None:
    usual = dict(vars(shop.extensions["valetkey"]))
    with throw_away_store(shop, prepared=prepared):
        token = mint_token(shop, "notes:read")
        folder = Path(shop.extensions["valetkey"].settings.data_dir)
        assert (folder / "valetkey.db").exists()

    assert vars(shop.extensions["valetkey"]) == usual
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []  # where the app itself would have made its database
    with throw_away_store(shop):  # with keys of its own, too
        headers = {"Authorization": f"Bearer {token}"}
        assert shop.test_client().get("/api/notes", headers=headers).status_code == 401


def test_a_real_issuer_is_left_alone(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, issuer="https://api.example.com")

    for misuse in (lambda: mint_token(app, "profile"), lambda: throw_away_store(app).__enter__()):
        with pytest.raises(SettingsError, match=r"issuer is https://api\.example\.com: take the issuer from"):
            misuse()
    with pytest.raises(SettingsError, match="has no Valetkey"):
        mint_token(Flask("bare"))


def test_a_clock_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="forward only"):
        Clock().forward(-1)


def test_what_is_minted_works_on_either_store(app: Flask) -> None:
    answer = app.test_client().get("/api/protected", headers=headers_for(app, "profile", user_id="ada"))

    assert answer.json == {"user": "ada", "client": "test-client"}


def test_the_app_in_a_test_does_all_that_it_does_otherwise(shop: Flask, prepared: PreparedStore) -> None:
    runtime: Runtime = shop.extensions["valetkey"]
    usual, bare = dict(vars(runtime)), vars(Runtime(runtime.settings, runtime.owners))
    plain = (bool, list, dict, type, type(None), FunctionType)  # the rest is each runtime's own
    composed = {name for name, value in usual.items() if isinstance(bare[name], plain) and value != bare[name]}
    assert composed >= {"on_store_created", "job_handlers", "app_context"}

    with throw_away_store(shop, prepared=prepared):
        assert shop.extensions["valetkey"] is runtime
        assert {name for name in composed if vars(runtime)[name] is not usual[name]} == set()
        assert runtime.store is not usual["store"]

    assert vars(runtime) == usual
