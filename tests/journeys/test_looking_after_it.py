"""What an operator looks at and takes back from a shell: lists, grants, the audit log, a backup, pruning."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.program import free_port
from tests.support.user import EMAIL, PASSWORD, User
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey.storage.engine.backup import back_up
from valetkey.storage.engine.transaction import StoreUnavailable

CALLBACK = "https://shop.example/back"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    made = Deployment(tmp_path_factory.mktemp("looking"), settings={"scopes": {"profile": "See your name"}})
    made.run("init")
    made.create_user(EMAIL, PASSWORD)
    made.run(
        "clients", "create", "--name", "Shop", "--policy", "web", "--redirect-uri", CALLBACK, "--client-id", "shop"
    )
    return made


@pytest.fixture(scope="module")
def server(deployment: Deployment) -> Iterator[RunningServer]:
    with RunningServer(deployment) as running:
        yield running


@pytest.fixture
def allowed(server: RunningServer) -> None:
    """Maya has allowed the shop to see her name."""
    asked = (
        f"{server.issuer}/oauth/authorize?response_type=code&client_id=shop&scope=profile&prompt=consent"
        f"&code_challenge={'c' * 43}&code_challenge_method=S256"
    )
    with User(EMAIL, PASSWORD) as maya:
        assert "code=" in maya.allow(asked)


def test_lists_are_aligned_under_their_names(deployment: Deployment) -> None:
    lines = deployment.run("clients", "list").splitlines()

    assert lines[0].split() == ["client", "id", "policy", "state", "name"]
    at = lines[0].index("policy")
    assert all(line[at - 1] == " " and line[at] != " " for line in lines)
    assert "shop" in deployment.run("clients", "list")
    assert EMAIL in deployment.run("users", "list")
    assert deployment.issuer in deployment.run("resources", "list")
    assert "ES256" in deployment.run("keys", "list")


@pytest.mark.parametrize("what", ["clients", "users", "resources", "keys", "scopes", "grants"])
def test_every_list_is_json_for_scripts(deployment: Deployment, what: str) -> None:
    assert isinstance(json.loads(deployment.run(what, "list", "--json")), list)


def test_one_app_is_shown_a_line_for_each_value(deployment: Deployment) -> None:
    shown = deployment.run("clients", "show", "shop")
    assert f"redirect_uris:              {CALLBACK}\n" in shown
    assert "grant_types:                authorization_code\n                            refresh_token\n" in shown


def test_times_are_told_as_people_read_them(deployment: Deployment) -> None:
    shown = deployment.run("clients", "show", "shop")
    assert re.search(r"client_id_issued_at: +20\d\d-\d\d-\d\d \d\d:\d\d UTC\n", shown)
    assert isinstance(json.loads(deployment.run("clients", "show", "shop", "--json"))["client_id_issued_at"], int)


def test_it_is_told_which_key_signs(tmp_path: Path) -> None:
    made = Deployment(tmp_path)
    made.run("init")
    made.run("keys", "rotate")
    assert _states(made) == ["signs", "signs", "next", "next"]

    made.run("keys", "rotate", "--emergency")

    assert sorted(_states(made)) == ["retired"] * 4 + ["signs"] * 2


def test_a_person_is_named_by_address_or_sub(deployment: Deployment) -> None:
    made = deployment.create_user("ada@example.org", PASSWORD)
    assert "ada@example.org is disabled" in deployment.run("users", "disable", made["sub"])
    assert "ada@example.org is enabled" in deployment.run("users", "enable", "ada@example.org")
    with pytest.raises(AssertionError, match="there is no account nobody; see `valetkey users list`"):
        deployment.run("users", "disable", "nobody")


def test_no_account_is_made_for_an_app_that_has_users_of_its_own(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(
        "from flask import Flask\nfrom valetkey import Valetkey\napp = Flask('theirs')\n"
        "Valetkey(app, resource_owner=lambda: None, sign_in_url='/login')\n"
    )
    made = Deployment(tmp_path, app=str(app))
    demo = json.loads(made.run("init", "--demo", "--json"))["demo"]

    assert sorted(demo) == ["client_id", "client_secret"]
    assert json.loads(made.run("users", "list", "--json")) == []
    with pytest.raises(AssertionError, match="the app has users of its own"):
        made.create_user(EMAIL, PASSWORD)


def test_the_check_asks_redis_and_the_mail_server(tmp_path: Path) -> None:
    nobody = free_port()
    made = Deployment(tmp_path, settings={"mail_url": f"smtp://127.0.0.1:{nobody}"})
    made.run("init")
    assert "advice:  the mail server of mail_url takes no mail now (ConnectionRefusedError" in made.run("check")

    silent = Deployment(tmp_path, settings={"redis_url": f"redis://127.0.0.1:{nobody}/0"})
    with pytest.raises(AssertionError, match="problem: Redis does not answer at redis_url"):
        silent.run("check")


def test_the_scopes_are_told_with_their_words(deployment: Deployment) -> None:
    assert json.loads(deployment.run("scopes", "list", "--json")) == [
        {"scope": "profile", "words": "See your name", "routes": []}
    ]


@pytest.mark.usefixtures("allowed")
def test_a_grant_is_listed_and_taken_back(deployment: Deployment) -> None:
    (grant,) = json.loads(deployment.run("grants", "list", "--client", "shop", "--user", EMAIL, "--json"))
    assert (grant["client_id"], grant["scope"]) == ("shop", "profile")
    assert json.loads(deployment.run("grants", "list", "--client", "other", "--json")) == []

    assert "is revoked" in deployment.run("grants", "revoke", grant["grant_id"])

    assert json.loads(deployment.run("grants", "list", "--json")) == []
    assert '"event": "grant.revoked"' in deployment.run("audit", "export")


@pytest.mark.usefixtures("allowed")
def test_all_that_a_person_gave_an_app_is_taken_back(deployment: Deployment) -> None:
    deployment.run("grants", "revoke", "--client", "shop", "--user", EMAIL)
    assert json.loads(deployment.run("grants", "list", "--json")) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("grants", "revoke"), "name a grant's id"),
        (("grants", "revoke", "none"), "there is no grant none"),
        (("grants", "revoke", "--client", "shop", "--user", "maja@example.org"), "maja@example.org gave shop nothing"),
        (("tokens", "create", "--user", "maja@example.org", "--name", "x"), "there is no account maja@example.org"),
        (("clients", "rotate-secret", "shop", "--old-lives", "-5"), "-5 is not in the range"),
        (
            ("clients", "create", "--name", "R", "--policy", "machine", "--redirect-uri", CALLBACK),
            "a machine client cannot have a redirect URI",
        ),
        (("clients", "create", "--name", "R", "--policy", "machine", "--client-id", "a b"), "client_id must be"),
        (
            ("clients", "create", "--name", "R", "--policy", "machine", "--client-id", "shop"),
            "choose another client_id",
        ),
        (
            ("clients", "create", "--name", "B", "--policy", "browser", "--redirect-uri", CALLBACK, "--secret-only"),
            "has no secret",
        ),
        (("audit", "export", "--since", "yesterday"), "does not match the formats"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(deployment: Deployment, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(AssertionError, match=said) as told:
        deployment.run(*words)
    assert "Traceback" not in str(told.value)


def test_a_secret_alone_is_for_scripts(deployment: Deployment) -> None:
    made = deployment.run(
        "clients", "create", "--name", "R", "--policy", "machine", "--client-id", "r", "--secret-only"
    )
    again = deployment.run("clients", "rotate-secret", "r", "--secret-only")
    assert made.startswith("vk_cs_")
    assert again.startswith("vk_cs_")
    assert made != again


def test_the_audit_log_is_read_and_exported(deployment: Deployment) -> None:
    exported = [json.loads(line) for line in deployment.run("audit", "export").splitlines()]
    tail = deployment.run("audit", "tail", "--last", "1").splitlines()

    assert [one["id"] for one in exported] == sorted(one["id"] for one in exported)
    assert {"account.created", "client.created"} <= {one["event"] for one in exported}
    assert len(tail) == 1
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  ", tail[0])
    assert exported[-1]["event"] in tail[0]
    assert deployment.run("audit", "export", "--since", "2999-01-01") == ""
    assert PASSWORD not in str(exported)


def test_a_backup_of_a_served_store_is_whole(deployment: Deployment, server: RunningServer, tmp_path: Path) -> None:
    assert server.metadata
    copy = tmp_path / "copy.db"

    told = deployment.run("backup", str(copy))

    assert "encryption.key" in told
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as opened:
        assert ("shop",) in opened.execute("SELECT client_id FROM valetkey_clients").fetchall()
    assert [path.name for path in tmp_path.iterdir()] == ["copy.db"]
    with pytest.raises(AssertionError, match="already exists"):
        deployment.run("backup", str(copy))
    with pytest.raises(AssertionError, match="cannot be written"):
        deployment.run("backup", str(tmp_path / "no" / "folder" / "copy.db"))


def test_a_backup_of_postgresql_is_left_to_its_own_tools(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="pg_dump"):
        back_up("postgresql://valetkey@127.0.0.1/valetkey", tmp_path / "copy")


def test_pruning_tells_how_much_went(deployment: Deployment) -> None:
    assert "rows removed" in deployment.run("prune")
    assert json.loads(deployment.run("prune", "--json"))["valetkey_codes"] == 0


def _states(deployment: Deployment) -> list[str]:
    return [key["state"] for key in json.loads(deployment.run("keys", "list", "--json"))]
