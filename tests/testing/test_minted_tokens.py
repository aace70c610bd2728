"""``valetkey.testing``: tokens without HTTP, which the real guard verifies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from flask import Flask, jsonify

from tests.support.app import MakeApp
from tests.support.clock import NOW
from tests.support.store_assertions import assert_store_unchanged
from valetkey import Plan, SettingsError, Valetkey, current_token, require_oauth
from valetkey.runtime import Runtime
from valetkey.testing import Clock, headers_for, mint_token, prepared_store, throw_away_store
from valetkey.testing.temporary_store import PreparedStore


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedStore:
    return prepared_store(tmp_path_factory.mktemp("prepared-store"))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """An app as its developer imports it, with settings for development."""
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


def status(app: Flask, path: str, scope: str = "", **options: Any) -> int:
    return app.test_client().get(path, headers=headers_for(app, scope, **options)).status_code


def test_token_of_a_user_allows_the_routes_of_its_scope_only(shop: Flask, clock: Clock) -> None:
    response = shop.test_client().get("/api/notes", headers=headers_for(shop, "notes:read", user_id="ada"))

    assert response.json is not None
    assert (response.json["of"], response.json["client"]) == ("ada", "test-client")
    assert status(shop, "/api/notes", "notes:write", user_id="ada", plan="pro") == 403


def test_token_without_a_user_belongs_to_the_client(shop: Flask, clock: Clock) -> None:
    response = shop.test_client().get("/api/notes", headers=headers_for(shop, "notes:read", client_id="robot"))

    assert response.json is not None
    assert (response.json["of"], response.json["client"]) == (None, "robot")


def test_token_expires_when_the_clock_reaches_its_expiry(shop: Flask, clock: Clock) -> None:
    headers = headers_for(shop, "notes:read")
    clock.forward(899)
    assert shop.test_client().get("/api/notes", headers=headers).status_code == 200

    clock.forward(1)

    assert shop.test_client().get("/api/notes", headers=headers).status_code == 401


@pytest.mark.parametrize(("expires_in", "expected"), [(60, 200), (-1, 401), (0, 401), (86_400, 200)])
def test_lifetime_of_a_token_can_be_chosen(shop: Flask, clock: Clock, expires_in: int, expected: int) -> None:
    assert status(shop, "/api/notes", "notes:read", expires_in=expires_in) == expected


def test_route_with_acr_and_max_age_checks_the_sign_in_of_a_token(shop: Flask, clock: Clock) -> None:
    options: dict[str, Any] = {"scope": "notes:read", "user_id": "ada"}

    assert status(shop, "/api/vault", **options) == 401
    assert status(shop, "/api/vault", **options, acr="mfa") == 200
    assert status(shop, "/api/vault", **options, acr="mfa", auth_time=NOW - 301) == 401


def test_token_can_be_for_another_resource(shop: Flask, clock: Clock) -> None:
    assert status(shop, "/api/elsewhere") == 401
    assert status(shop, "/api/elsewhere", resource="https://other.example") == 200
    assert status(shop, "/api/notes", "notes:read", resource="https://other.example") == 401


def test_limits_apply_and_refill_when_the_clock_advances(shop: Flask, clock: Clock) -> None:
    headers = headers_for(shop, "notes:read")
    statuses = [shop.test_client().get("/api/notes", headers=headers).status_code for _ in range(3)]

    assert statuses == [200, 200, 429]
    clock.forward(6)
    assert shop.test_client().get("/api/notes", headers=headers).status_code == 200


def test_client_is_subscribed_to_the_plan_that_a_test_passes(shop: Flask, clock: Clock) -> None:
    def statuses(**options: str) -> list[int]:
        headers = headers_for(shop, "notes:read", acr="mfa", user_id="ada", **options)
        return [shop.test_client().get("/api/vault", headers=headers).status_code for _ in range(5)]

    assert statuses() == [200, 200, 200, 429, 429]
    clock.forward(1)  # a refusal is cached for up to a second
    assert statuses(plan="pro") == [200] * 5
    assert statuses(plan="free", client_id="robot") == [200, 200, 200, 429, 429]
    with pytest.raises(ValueError, match="no plan 'por'; did you mean 'pro'"):
        mint_token(shop, plan="por")
    with pytest.raises(ValueError, match="plan of robot has no scope notes:write"):
        mint_token(shop, "notes:write", client_id="robot")


def test_revoking_an_owner_revokes_the_tokens_of_a_test(shop: Flask, clock: Clock) -> None:
    headers = headers_for(shop, "notes:read", user_id="ada")
    Valetkey.revoke_owner(shop, "ada")

    assert shop.test_client().get("/api/notes", headers=headers).status_code == 401
    clock.forward(2)
    assert status(shop, "/api/notes", "notes:read", user_id="ada") == 200


def test_invalid_arguments_raise_value_error_and_write_nothing(shop: Flask, clock: Clock) -> None:

    with assert_store_unchanged(shop.extensions["valetkey"]):
        with pytest.raises(ValueError, match="no scope 'notes:raed'; did you mean 'notes:read'"):
            mint_token(shop, "notes:raed")
        with pytest.raises(ValueError, match="user_id="):
            mint_token(shop, "notes:read", acr="mfa")


def test_a_list_of_scopes_is_refused_with_a_sentence(shop: Flask, clock: Clock) -> None:
    with pytest.raises(ValueError, match="scope must be text such as 'notes:read notes:write', not a list"):
        headers_for(shop, ["notes:read"])  # type: ignore[arg-type]


def test_temporary_store_restores_the_app_and_leaves_no_file(
    shop: Flask, prepared: PreparedStore, tmp_path: Path
) -> None:
    original = dict(vars(shop.extensions["valetkey"]))
    with throw_away_store(shop, prepared=prepared):
        token = mint_token(shop, "notes:read")
        folder = Path(shop.extensions["valetkey"].settings.data_dir)
        assert (folder / "valetkey.db").exists()

    assert vars(shop.extensions["valetkey"]) == original
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []  # the working directory, where the app itself would create its database
    with throw_away_store(shop):  # this store has other keys
        headers = {"Authorization": f"Bearer {token}"}
        assert shop.test_client().get("/api/notes", headers=headers).status_code == 401


def test_app_with_a_production_issuer_is_refused(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, issuer="https://api.example.com")

    for misuse in (lambda: mint_token(app, "profile"), lambda: throw_away_store(app).__enter__()):
        with pytest.raises(SettingsError, match=r"issuer is https://api\.example\.com: take the issuer from"):
            misuse()
    with pytest.raises(SettingsError, match="has no Valetkey"):
        mint_token(Flask("bare"))


def test_clock_cannot_run_backwards() -> None:
    with pytest.raises(ValueError, match="forward only"):
        Clock().forward(-1)


def test_tokens_work_with_every_store_backend(app: Flask) -> None:
    response = app.test_client().get("/api/protected", headers=headers_for(app, "profile", user_id="ada"))

    assert response.json == {"user": "ada", "client": "test-client"}


def test_temporary_store_preserves_all_attributes_that_the_extension_sets(shop: Flask, prepared: PreparedStore) -> None:
    runtime: Runtime = shop.extensions["valetkey"]
    original, bare = dict(vars(runtime)), vars(Runtime(runtime.settings, runtime.owners))
    plain = (bool, list, dict, type, type(None), FunctionType)  # other values differ for each runtime anyway
    composed = {name for name, value in original.items() if isinstance(bare[name], plain) and value != bare[name]}
    assert composed >= {"on_store_created", "job_handlers"}

    with throw_away_store(shop, prepared=prepared):
        assert shop.extensions["valetkey"] is runtime
        assert {name for name in composed if vars(runtime)[name] is not original[name]} == set()
        assert runtime.store is not original["store"]

    assert vars(runtime) == original
