"""``ResourceServer``: what it imports, the memory that it needs, and the errors of a wrong configuration."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Blueprint, Flask

from tests.resource_server.fake_issuer import RESOURCE, FakeIssuer
from tests.resource_server.standalone_api import StandaloneApi
from tests.support.clock import Clock
from valetkey import IntrospectionClient, ResourceServer, SettingsError, TrustedIssuer, protect
from valetkey.rate_limiting.backends.sql_counters import open_local_counters
from valetkey.resource_server.standalone_context import StandaloneContext
from valetkey.service import AppNotFound, load_app

IMPORTS = """
import sys
from pathlib import Path
from flask import Flask
from valetkey import ResourceServer, TrustedIssuer, current_token, public, require_oauth

app = Flask("api")
ResourceServer(app, trusted_issuers=["https://id.example.com"], resource="https://api.example.com")

@app.get("/api/notes")
@require_oauth("notes:read", limit="100/minute")
def notes():
    return {}

assert app.test_client().get("/api/notes").status_code == 401
assert app.test_client().get("/.well-known/oauth-protected-resource").status_code == 200
banned = ("sqlalchemy", "alembic", "authlib", "wtforms", "argon2", "granian", "valetkey.runtime", "valetkey.extension",
          "valetkey.accounts", "valetkey.authorization_server", "valetkey.resource_owner",
          "valetkey.storage.engine.store")
print(sorted({name for name in sys.modules if name.startswith(banned)}))
resident = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
print(int(resident.split()[1]) // 1024)
"""


def test_a_resource_server_imports_no_database_and_needs_little_memory() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)

    imported, megabytes = done.stdout.splitlines()
    assert imported == "[]"
    assert int(megabytes) < 60


def test_two_apps_in_one_process_accept_only_tokens_of_their_own_issuer(clock: Clock) -> None:
    with FakeIssuer(clock) as first_issuer, FakeIssuer(clock) as second_issuer:
        first, second = (
            StandaloneApi(clock, first_issuer.url),
            StandaloneApi(clock, second_issuer.url, resource="https://other.example.com"),
        )

        assert first.accepts(first_issuer.token())
        assert not second.accepts(first_issuer.token())
        assert second.accepts(second_issuer.token(aud="https://other.example.com"))
        assert not first.accepts(second_issuer.token())


def test_one_resource_server_serves_several_apps_and_init_sends_no_request(clock: Clock) -> None:
    with FakeIssuer(clock) as issuer:
        server = ResourceServer(trusted_issuers=[issuer.url], resource=RESOURCE, clock=clock)
        apps = [Flask("one"), Flask("two")]
        for app in apps:
            server.init_app(app)

        assert apps[0].extensions["valetkey"] is not apps[1].extensions["valetkey"]
        assert issuer.requested_paths == []


def test_issuers_and_resource_can_be_in_the_apps_configuration(clock: Clock) -> None:
    app = Flask("api")
    app.config["VALETKEY_TRUSTED_ISSUERS"] = ["https://id.example.com"]
    app.config["VALETKEY_RESOURCE"] = RESOURCE

    ResourceServer(app)

    assert list(app.extensions["valetkey"].issuers) == ["https://id.example.com"]


ISSUER = "https://id.example.com"
INTROSPECTION = IntrospectionClient(client_id="a", client_secret="hidden")
WRONG_CONFIGURATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "trusted_issuers: must be a list"),
    "a string instead of a list": ({"trusted_issuers": ISSUER}, "trusted_issuers: must be a list"),
    "one issuer twice": ({"trusted_issuers": [ISSUER, ISSUER]}, "names one issuer twice"),
    "plain http": ({"trusted_issuers": ["http://id.example.com"]}, "http is for loopback"),
    "no URL": ({"trusted_issuers": ["accounts.example.com"]}, "does not begin with a scheme"),
    "a pattern of tenants": (
        {"trusted_issuers": ["https://id.example.com/{t}"]},
        "each tenant's issuer",
    ),
    "two issuers with introspection and no prefix": (
        {
            "trusted_issuers": [
                TrustedIssuer(url, introspection=INTROSPECTION) for url in (ISSUER, "https://b.example.com")
            ]
        },
        "the prefix of its tokens",
    ),
    "an issuer as a dictionary": ({"trusted_issuers": [{"issuer": ISSUER}]}, "each issuer must be its identifier"),
    "None as an issuer": ({"trusted_issuers": [None]}, "each issuer must be its identifier"),
    "a dictionary instead of a list": ({"trusted_issuers": {ISSUER: {}}}, "trusted_issuers: must be a list"),
    "a number instead of a list": ({"trusted_issuers": 5}, "trusted_issuers: must be a list"),
    "no resource": ({"trusted_issuers": [ISSUER], "resource": None}, "resource must be the URL"),
    "a resource over plain http": ({"trusted_issuers": [ISSUER], "resource": "http://api.example.com"}, "use https"),
    "a setting of authorization servers": (
        {"trusted_issuers": [ISSUER], "issuer": ISSUER},
        "issuer: ResourceServer has no such setting",
    ),
    "an unknown setting": (
        {"trusted_issuers": [ISSUER], "colour": "red"},
        "colour: ResourceServer has no such setting",
    ),
    "a leeway of an hour": ({"trusted_issuers": [ISSUER], "clock_leeway": 3600}, "clock_leeway must be between"),
}


@pytest.mark.parametrize(("options", "message"), WRONG_CONFIGURATIONS.values(), ids=WRONG_CONFIGURATIONS)
def test_a_wrong_configuration_raises_at_start(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        ResourceServer(Flask("api"), **{"resource": RESOURCE, **options})

    assert message in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithms": ["RS256", "HS256"]}, "HS256: only asymmetric"),
        ({"algorithms": ["none"]}, "none: only asymmetric"),
        ({"algorithms": "RS256"}, "algorithms must be a list of texts"),
        ({"algorithms": []}, "algorithms is empty"),
        ({"clients": "shop"}, "clients must be a list of texts"),
        ({"clients": [None]}, "clients must be a list of texts"),
        ({"audience": 5}, "audience must be a text, or a list of texts"),
        ({"scope_claims": [5]}, "scope_claims must be a text, or a list of texts"),
        ({"introspection": {"client_id": "a"}}, "introspection must be an IntrospectionClient"),
        ({"user_id": "sub"}, "user_id must be a function"),
        ({"like": ["auth0"]}, "like must be one of"),
        ({"jwks_uri": 5}, "jwks_uri cannot be used: it is not a URL"),
        ({"roles": ["admin"], "role_claims": "roles"}, "roles must be a dictionary"),
        ({"roles": {"admin": 5}, "role_claims": "roles"}, "roles must be a dictionary"),
        ({"like": "okto"}, "like must be one of"),
        ({"jwks_uri": "http://id.example.com/jwks"}, "jwks_uri cannot be used"),
        ({"token_types": "JWS"}, "token_types must be"),
        ({"roles": {"admin": "notes:write"}}, "belong together"),
        ({"roles": {"admin": 'a"b'}, "role_claims": "roles"}, "is not a valid scope"),
    ],
)
def test_an_invalid_trusted_issuer_raises_when_it_is_created(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"trusted issuer '{ISSUER}'.*{message}"):
        TrustedIssuer(ISSUER, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"client_id": None},
        {"client_id": ""},
        {"client_secret": None},
        {"method": "none"},
        {"method": ["client_secret_basic"]},
        {"endpoint": "http://id.example.com/i"},
        {"endpoint": 5},
        {"prefix": None},
        {"always": "no"},
        {"remember": 3600},
        {"remember": "5"},
    ],
    ids=str,
)
def test_an_invalid_introspection_client_raises_when_it_is_created(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(options))} "):
        IntrospectionClient(**{"client_id": "a", "client_secret": "b", **options})


def test_the_repr_of_an_issuer_does_not_contain_the_secret() -> None:
    assert "hidden" not in repr(TrustedIssuer(ISSUER, introspection=INTROSPECTION))


def test_a_protected_blueprint_is_guarded_from_the_first_request_on(clock: Clock) -> None:
    with FakeIssuer(clock) as issuer:
        api, notes = StandaloneApi(clock, issuer.url), Blueprint("notes", __name__)
        notes.add_url_rule("/api/all", view_func=lambda: "notes")
        protect(notes, "notes:read")
        api.app.register_blueprint(notes)

        assert api.call(None, "/api/all").status_code == 401
        assert api.call(issuer.token(), "/api/all").status_code == 200


def test_protect_by_default_denies_undecorated_routes(clock: Clock) -> None:
    api = StandaloneApi(clock, ISSUER, protect_by_default=True)
    api.app.add_url_rule("/api/forgotten", view_func=lambda: "open")

    assert api.call(None, "/api/forgotten").status_code == 401
    assert api.call(None, "/api/status").status_code == 200


def test_commands_of_the_authorization_server_refuse_an_app_with_a_resource_server(tmp_path: Any) -> None:
    file = tmp_path / "alone.py"
    file.write_text(IMPORTS.partition("@app.get")[0])

    with pytest.raises(AppNotFound, match="only `serve`, `check` and `openapi` work"):
        load_app(str(file))


def test_the_check_command_checks_routes_and_limits_of_a_resource_server(tmp_path: Path) -> None:
    file = tmp_path / "alone.py"
    more = """
@app.get("/api/undecorated")
def undecorated():
    return "?"


@app.get("/api/by-plan")
@require_oauth(limit={"free": "1/minute"})
def by_plan():
    return "!"
"""
    beginning = IMPORTS.partition("@app.get")[0]

    def check(text: str) -> tuple[int, str]:
        file.write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "valetkey", "--app", str(file), "check"], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    assert check(beginning) == (0, "Ready to serve.\n")
    code, output = check(beginning + more)
    assert code == 1
    assert "problem: the limit of /api/by-plan depends on the client's plan" in output
    assert "advice:  /api/undecorated has neither @public nor @require_oauth" in output


def test_the_counters_in_a_folder_are_pruned_by_a_thread_every_hour(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valetkey.rate_limiting.backends.sql_counters.can_lock_bytes", lambda: False)
    monkeypatch.setattr("valetkey.resource_server.standalone_context._PRUNE_INTERVAL_S", 0.01)
    before = set(threading.enumerate())  # other tests may not have closed their apps
    counters = open_local_counters(tmp_path / "limits.db")
    counters.spend("old", clock.time - 3600, 60.0, clock.time)
    counters.spend("used now", clock.time, 60.0, clock.time + 60)
    api = StandaloneApi(clock, ISSUER, data_dir=str(tmp_path))
    context: StandaloneContext = api.app.extensions["valetkey"]
    prune, times_pruned = context.admission.limiter.prune, threading.Semaphore(0)

    def prune_and_count(now: float) -> None:
        prune(now)
        times_pruned.release()

    monkeypatch.setattr(context.admission.limiter, "prune", prune_and_count)
    for _ in range(2):
        assert api.call(None).status_code == 401

    for _ in range(3):
        assert times_pruned.acquire(timeout=10)
    assert [counters.read(key, 0.0) for key in ("old", "used now")] == [0.0, clock.time + 60]
    assert [thread.name for thread in set(threading.enumerate()) - before] == ["valetkey-pruning"]
    context.close()
    counters.close()
