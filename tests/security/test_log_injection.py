"""A caller cannot forge lines of the log, hide text in it or send commands to the terminal that shows it."""

from __future__ import annotations

import json
import logging
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.support.app import MakeApp, Register
from tests.support.browser_client import Browser
from tests.support.clock import Clock
from valetkey import require_oauth
from valetkey.authorization_server.endpoints import ENDPOINTS
from valetkey.runtime import Runtime
from valetkey.service import create_app

FORGED = "x\r\n2026-01-01 00:00:00,000 ERROR valetkey: forged \x1b[2K\x9b1A\u202e\u2066\u2028\x85\x00"
PARAMETERS = (
    *("client_id", "client_secret", "client_assertion", "client_assertion_type", "grant_type", "code", "scope"),
    *("redirect_uri", "refresh_token", "device_code", "token", "resource", "user_code", "plan", "access_token", "id"),
)


def _encode_json(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value, ensure_ascii=False).encode()).decode().rstrip("=")


FORGED_JWT = (
    f"{_encode_json({'alg': FORGED, 'kid': FORGED, 'typ': 'at+jwt'})}"
    f".{_encode_json({'iss': FORGED, 'sub': FORGED, 'client_id': FORGED, 'aud': FORGED})}.eA"
)
FORGED_BASIC = "Basic " + b64encode(f"{FORGED[:-1]}:{FORGED}".encode()).decode()


@pytest.fixture
def app(make_app: MakeApp, sqlite_store_url: str) -> Flask:
    """An app with one more route, which needs the scope notes:write."""
    app = make_app(sqlite_store_url)
    app.get("/api/careful")(require_oauth("notes:write")(lambda: "done"))
    return app


@pytest.fixture
def machine(app: Flask, register: Register) -> Browser:
    """A client with the policy ``machine``."""
    return Browser(app.test_client(), register("machine"))


@pytest.fixture
def checked_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log. At the end of the test every text in its records must be printable."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    records = [record for record in caplog.get_records("call") if record.name.startswith("valetkey")]
    assert records, "nothing was logged"
    for record in records:
        fields = [getattr(record, name, None) for name in ("reference", "client_id", "user", "network")]
        for text in (record.getMessage(), *fields):
            assert text is None or text.isprintable(), repr(text)


@pytest.mark.parametrize("endpoint", [endpoint.path for endpoint in ENDPOINTS])
def test_machine_endpoints_log_forged_parameters_escaped(
    app: Flask, machine: Browser, checked_log: pytest.LogCaptureFixture, endpoint: str
) -> None:
    path = f"/oauth{endpoint}".replace("<client_id>", "x").replace("<token_id>", "x")
    forged = dict.fromkeys(PARAMETERS, FORGED)
    for name in PARAMETERS:
        machine.http.post(path, data={name: FORGED}, auth=machine.auth)
        machine.http.post(path, data={"grant_type": "client_credentials", name: FORGED}, auth=machine.auth)
    machine.http.post(path, data=forged)
    machine.http.post(path, json=forged)
    machine.http.post(path, data={"client_assertion": FORGED_JWT, "client_assertion_type": FORGED})
    machine.http.post(path, data={"token": FORGED_JWT}, auth=machine.auth)
    machine.http.get(path, query_string=forged)
    machine.http.post(path, data={"grant_type": "x"}, headers={"Authorization": FORGED_BASIC})
    machine.http.open(path, method="PURGE", headers={"X-Forwarded-For": "x\u202e", "Request-Id": "a\u202eb"})


def test_guarded_routes_and_pages_log_forged_values_escaped(
    app: Flask, ada: Browser, checked_log: pytest.LogCaptureFixture
) -> None:
    ada.http.get("/api/protected", headers={"Authorization": f"Bearer {FORGED_JWT}"})
    ada.http.get("/api/protected", headers={"Authorization": "Bearer x\u202e", "Request-Id": "\x1b[2K"})
    ada.http.get(f"/api/{FORGED}")
    for name in ada.authorization_parameters():
        ada.authorize(**{name: FORGED})
    ada.get("/account/mail/x%0a2026%1b")
    ada.get("/oauth/consent/x%0a2026%1b")
    ada.get("/oauth/logout", query_string={"client_id": FORGED, "id_token_hint": FORGED_JWT, "state": FORGED})
    ada.http.post("/account/revoke", query_string={"client_id": FORGED}, data={"csrf_token": FORGED})


def test_a_traceback_of_an_exception_with_a_forged_message_cannot_look_like_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(data_dir=str(tmp_path), env_prefix=None, embedded_worker=False)

    def fail(*_: object) -> None:
        raise RuntimeError(FORGED)

    monkeypatch.setattr("valetkey.authorization_server.token.endpoint.authenticate", fail)
    app.test_client().post("/oauth/token", data={"grant_type": "x"})

    [failed] = [record for record in caplog.records if record.exc_text]
    lines = str(failed.exc_text).split("\n")
    assert any("forged" in line for line in lines)
    assert all(line.startswith("  ") and line.isprintable() for line in lines)


def test_a_refusal_carries_reference_client_user_and_network(
    app: Flask, ada: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = ada.obtain_tokens()
    user = ada.http.get("/api/protected", headers={"Authorization": f"Bearer {tokens['access_token']}"}).json["user"]
    refused = [
        ada.redeem("vk_ac_" + "x" * 50),
        ada.refresh(tokens["refresh_token"], scope="notes:write"),
        ada.http.get("/oauth/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}),
        ada.http.get("/api/careful", headers={"Authorization": f"Bearer {tokens['access_token']}"}),
    ]

    for response, has_user in zip(refused, (False, True, True, True), strict=True):
        reference = response.headers.get("Valetkey-Reference") or response.json["reference"]
        [record] = [record for record in caplog.records if getattr(record, "reference", None) == reference]
        assert vars(record)["client_id"] == ada.client.client_id, record.getMessage()
        assert vars(record)["user"] == (user if has_user else None), record.getMessage()
        assert vars(record)["network"] == "127.0.0.1"
        assert f"[{reference}] client_id={ada.client.client_id}" in record.getMessage()


def test_the_refusal_of_an_expired_or_revoked_token_carries_its_client_and_user(
    ada: Browser, runtime: Runtime, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    revoked = ada.obtain_tokens(scope=("openid", "profile"))["access_token"]
    user = ada.call(revoked).json["user"]
    ada.http.post("/oauth/revoke", data={"token": revoked}, auth=ada.auth)
    expired = ada.obtain_tokens(scope=("openid", "profile"))["access_token"]
    refused = [ada.call(revoked), ada.call(revoked, "/oauth/userinfo")]
    clock.forward(runtime.settings.access_token_lifetime)
    refused += [ada.call(expired), ada.call(expired, "/oauth/userinfo")]

    assert [response.status_code for response in refused] == [401] * 4
    for response in refused:
        reference = response.headers.get("Valetkey-Reference") or response.json["reference"]
        [record] = [record for record in caplog.records if getattr(record, "reference", None) == reference]
        assert (vars(record)["client_id"], vars(record)["user"]) == (ada.client.client_id, user)


def test_a_claimed_client_id_cannot_look_like_other_fields(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    claimed = 'shop user=ada network=192.0.2.1 "'

    app.test_client().post("/oauth/token", data={"grant_type": "x", "client_id": claimed})

    assert r'client_id="shop user=ada network=192.0.2.1 \"" network=127.0.0.1' in caplog.records[-1].getMessage()
