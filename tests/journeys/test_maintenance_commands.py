"""Commands for day-to-day operation: lists, grants, the audit log, checks, backup and pruning."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
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
    deployment = Deployment(tmp_path_factory.mktemp("maintenance"), settings={"scopes": {"profile": "See your name"}})
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    deployment.run(
        "clients", "create", "--name", "Shop", "--policy", "web", "--redirect-uri", CALLBACK, "--client-id", "shop"
    )
    return deployment


@pytest.fixture(scope="module")
def server(deployment: Deployment) -> Iterator[RunningServer]:
    with RunningServer(deployment) as running:
        yield running


@pytest.fixture
def allowed(server: RunningServer) -> None:
    """Maya has allowed the shop to see her name."""
    authorization_url = (
        f"{server.issuer}/oauth/authorize?response_type=code&client_id=shop&scope=profile&prompt=consent"
        f"&code_challenge={'c' * 43}&code_challenge_method=S256"
    )
    with User(EMAIL, PASSWORD) as maya:
        assert "code=" in maya.allow(authorization_url)


def test_lists_are_aligned_under_their_headings(deployment: Deployment) -> None:
    lines = deployment.run("clients", "list").splitlines()

    assert lines[0].split() == ["client", "id", "policy", "state", "name"]
    column = lines[0].index("policy")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)
    assert "shop" in deployment.run("clients", "list")
    assert EMAIL in deployment.run("users", "list")
    assert deployment.issuer in deployment.run("resources", "list")
    assert "ES256" in deployment.run("keys", "list")


@pytest.mark.parametrize("group", ["clients", "users", "resources", "keys", "scopes", "grants"])
def test_every_list_can_be_printed_as_json(deployment: Deployment, group: str) -> None:
    assert isinstance(json.loads(deployment.run(group, "list", "--json")), list)


def test_clients_show_prints_a_line_for_each_value(deployment: Deployment) -> None:
    output = deployment.run("clients", "show", "shop")
    assert f"redirect_uris:              {CALLBACK}\n" in output
    assert "grant_types:                authorization_code\n                            refresh_token\n" in output


def test_times_are_printed_as_dates_and_as_numbers_in_json(deployment: Deployment) -> None:
    output = deployment.run("clients", "show", "shop")
    assert re.search(r"client_id_issued_at: +20\d\d-\d\d-\d\d \d\d:\d\d UTC\n", output)
    assert isinstance(json.loads(deployment.run("clients", "show", "shop", "--json"))["client_id_issued_at"], int)


def test_keys_list_shows_which_keys_sign(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.run("init")
    deployment.run("keys", "rotate")
    assert _key_states(deployment) == ["signs", "signs", "next", "next"]

    deployment.run("keys", "rotate", "--emergency")

    assert sorted(_key_states(deployment)) == ["retired"] * 4 + ["signs"] * 2


def test_a_user_is_named_by_email_address_or_sub(deployment: Deployment) -> None:
    user = deployment.create_user("ada@example.org", PASSWORD)
    assert "ada@example.org is disabled" in deployment.run("users", "disable", user["sub"])
    assert "ada@example.org is enabled" in deployment.run("users", "enable", "ada@example.org")
    with pytest.raises(AssertionError, match="unknown user nobody; see `valetkey users list`"):
        deployment.run("users", "disable", "nobody")


FUNCTION = "def users(): ..."
OBJECT = """
from valetkey import Owner

class Users:
    def current(self): ...
    def sign_in_url(self, next, *, fresh=False, acr_values=()): return "/login"
    def find(self, sub): return Owner(sub) if sub in ("7", "ada@example.org") else None
    def claims(self, sub, scope): return {}

users = Users()
"""


@pytest.fixture(params=[FUNCTION, OBJECT], ids=["function", "object"])
def own_users(request: pytest.FixtureRequest, tmp_path: Path) -> Deployment:
    """An app with its own users, as a function or as an object."""
    app = tmp_path / "app.py"
    app.write_text(
        f"from flask import Flask\nfrom valetkey import Valetkey\n{request.param}\napp = Flask('theirs')\n"
        "Valetkey(app, resource_owner=users, sign_in_url=None, scopes={'profile': 'See your name'})\n"
    )
    return Deployment(tmp_path, app=str(app))


def test_no_account_is_created_or_shown_if_the_host_has_its_own_users(own_users: Deployment) -> None:
    demo = json.loads(own_users.run("init", "--demo", "--json"))["demo"]

    assert sorted(demo) == ["client_id", "client_secret"]
    for command in ("list", "show 7", "disable 7", "enable 7", "password 7", "remove 7", "create --email a@b.example"):
        with pytest.raises(AssertionError, match=r"this app has its own users .*: manage users in"):
            own_users.run("users", *command.split())


def test_users_of_the_host_are_named_by_sub_and_not_by_an_address(own_users: Deployment) -> None:
    own_users.run("init")
    for command in (
        "grants list --user mo@example.org",
        "grants revoke --client shop --user mo@example.org",
        "tokens list --user mo@example.org",
        "tokens create --name CI --scope profile --user mo@example.org",
    ):
        with pytest.raises(AssertionError, match=r"this app has its own users .* by the id \(sub\)"):
            own_users.run(*command.split())

    assert "There are no grants" in own_users.run("grants", "list", "--user", "7")
    own_users.run("tokens", "create", "--name", "CI", "--scope", "profile", "--user", "7")
    assert [token["owner"] for token in json.loads(own_users.run("tokens", "list", "--user", "7", "--json"))] == ["7"]


@pytest.mark.parametrize("own_users", [OBJECT], indirect=True)
def test_an_address_that_is_the_sub_of_a_user_of_the_host_is_accepted(own_users: Deployment) -> None:
    own_users.run("init")

    own_users.run("tokens", "create", "--name", "CI", "--scope", "profile", "--user", "ada@example.org")

    assert "There are no grants" in own_users.run("grants", "list", "--user", "ada@example.org")


def test_a_restore_does_not_mention_users_of_the_host(own_users: Deployment, tmp_path: Path) -> None:
    own_users.run("init")
    own_users.run("backup", str(tmp_path / "backup"))

    for output in (own_users.run("restore", str(tmp_path / "backup"), "--yes"), own_users.run("revoke-all", "--yes")):
        assert "Users must allow each app again. The app's own sessions do not end." in output
        assert "signed out" not in output
        assert "Users in the backup" not in output
        assert "password" not in output


@pytest.mark.parametrize("command", ["grants list", "tokens list"])
def test_an_unknown_user_is_not_a_user_without_grants_or_tokens(deployment: Deployment, command: str) -> None:
    with pytest.raises(AssertionError, match=r"unknown user nobody@example.org; see `valetkey users list`"):
        deployment.run(*command.split(), "--user", "nobody@example.org")


@pytest.mark.parametrize(
    "command",
    [
        "clients create --name Shop --policy machine --scope orders",
        "plans set robot pro",
        "users show ada@example.org",
        "plans list",
        "scopes list",
        "check",
    ],
)
def test_a_command_that_misses_the_settings_of_an_app_says_that_none_is_loaded(tmp_path: Path, command: str) -> None:
    no_app = Deployment(tmp_path, settings={"scopes": {}})
    no_app.run("init")
    no_app.run("clients", "create", "--name", "Robot", "--policy", "machine", "--client-id", "robot")
    app = tmp_path / "app.py"
    app.write_text("from flask import Flask\nfrom valetkey import Valetkey\nValetkey(app := Flask('app'))")

    assert "No app was loaded: name it with --app, or set VALETKEY_APP." in output_of(no_app, command)
    assert "No app was loaded" not in output_of(replace(no_app, app=app), command)


def output_of(deployment: Deployment, command: str) -> str:
    """Run a command and return its output, or its error message."""
    try:
        return deployment.run(*command.split())
    except AssertionError as error:
        return str(error)


def test_check_connects_to_redis_and_to_the_mail_server(tmp_path: Path) -> None:
    closed_port = free_port()
    deployment = Deployment(tmp_path, settings={"mail_url": f"smtp://127.0.0.1:{closed_port}"})
    deployment.run("init")
    assert "advice:  the mail server of mail_url does not accept mail (ConnectionRefusedError" in deployment.run(
        "check"
    )

    without_redis = Deployment(tmp_path, settings={"redis_url": f"redis://127.0.0.1:{closed_port}/0"})
    with pytest.raises(AssertionError, match=r"problem: Redis cannot count \(.*refused"):
        without_redis.run("check")


def test_scopes_are_listed_with_their_words(deployment: Deployment) -> None:
    assert json.loads(deployment.run("scopes", "list", "--json")) == [
        {"scope": "profile", "words": "See your name", "routes": []}
    ]


@pytest.mark.usefixtures("allowed")
def test_a_grant_is_listed_and_revoked(deployment: Deployment) -> None:
    (grant,) = json.loads(deployment.run("grants", "list", "--client", "shop", "--user", EMAIL, "--json"))
    assert (grant["client_id"], grant["scope"]) == ("shop", "profile")
    assert json.loads(deployment.run("grants", "list", "--client", "other", "--json")) == []

    assert "is revoked" in deployment.run("grants", "revoke", grant["grant_id"])

    assert json.loads(deployment.run("grants", "list", "--json")) == []
    assert '"event": "grant.revoked"' in deployment.run("audit", "export")


@pytest.mark.usefixtures("allowed")
def test_all_grants_of_a_user_to_a_client_are_revoked(deployment: Deployment) -> None:
    deployment.run("grants", "revoke", "--client", "shop", "--user", EMAIL)
    assert json.loads(deployment.run("grants", "list", "--json")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("grants", "revoke"), "pass a grant's id"),
        (("grants", "revoke", "none"), "unknown grant none"),
        (("grants", "revoke", "--client", "shop", "--user", "maja@example.org"), "unknown user maja@example.org"),
        (("grants", "revoke", "--client", "none", "--user", EMAIL), f"{EMAIL} gave none nothing"),
        (
            ("tokens", "create", "--user", "maja@example.org", "--name", "x", "--scope", "profile"),
            "unknown user maja@example.org",
        ),
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
        (("tokens", "list", "--user", ""), "the value is empty"),
        (("grants", "list", "--client", ""), "the value is empty"),
        (("clients", "create", "--name", "R", "--policy", "machine", "--client-id", ""), "the value is empty"),
        (("--data-dir", "", "init"), "the value is empty"),
        (("backup", ""), "the path is empty"),
        (("restore", ""), "the path is empty"),
        (("openapi", "--output", ""), "the path is empty"),
        (("keys", "new", "--file", ""), "the path is empty"),
        (("clients", "token", "--uses", "3000000000"), "3000000000 is not in the range"),
        (("clients", "token", "--expires", "9" * 400), "is not in the range"),
        (("tokens", "create", "--user", EMAIL, "--name", "x", "--days", "9" * 400), "is not in the range"),
        (("openapi", "-o", "/dev/null/openapi.json"), "Error: /dev/null/openapi.json cannot be used: Not a directory"),
        (("openapi", "-o", "/dev/full"), "Error: a file or the output cannot be used: No space left on device"),
        (("keys", "new", "--file", "/dev/null/key"), "Error: /dev/null/key.* cannot be used: Not a directory"),
        (("users", "show", "m\udcfcller"), "Error: an argument, a file or standard input is not UTF-8 text"),
        (("users", "create", "--email", "zoe@example.org", "--password-stdin"), "standard input contains no password"),
        (("users", "password", EMAIL, "--password-stdin"), "standard input contains no password"),
    ],
)
def test_an_impossible_command_fails_with_a_message(
    deployment: Deployment, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(AssertionError, match=message) as failure:
        deployment.run(*arguments)
    assert "Traceback" not in str(failure.value)


@pytest.mark.parametrize("stdin", [b"\xff\n", b"\n", None], ids=["not UTF-8", "an empty line", "closed"])
@pytest.mark.parametrize(
    "arguments", [("users", "create", "--email", "zoe@example.org", "--password-stdin"), ("revoke-all",)]
)
def test_a_command_without_usable_input_changes_nothing(
    deployment: Deployment, arguments: tuple[str, ...], stdin: bytes | None
) -> None:
    command = deployment.command(*arguments)
    if stdin is None:
        command = ["sh", "-c", 'exec "$@" <&-', "sh", *command]
    completed = subprocess.run(
        command, input=stdin or b"", capture_output=True, env=deployment.environment, timeout=60, check=False
    )

    assert completed.returncode in {1, 2}
    assert b"Traceback" not in completed.stderr
    assert "zoe@example.org" not in deployment.run("users", "list")
    assert "tokens.all_revoked" not in deployment.run("audit", "export")


def test_a_full_disk_behind_the_output_is_an_error_without_a_traceback(deployment: Deployment) -> None:
    with open("/dev/full", "w") as output:
        completed = subprocess.run(
            deployment.command("clients", "list"),
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            env=deployment.environment,
            timeout=60,
            check=False,
        )

    assert completed.returncode == 1
    assert completed.stderr == "Error: a file or the output cannot be used: No space left on device\n"


def test_secret_only_prints_nothing_but_the_secret(deployment: Deployment) -> None:
    first = deployment.run(
        "clients", "create", "--name", "R", "--policy", "machine", "--client-id", "r", "--secret-only"
    )
    second = deployment.run("clients", "rotate-secret", "r", "--secret-only")
    assert first.startswith("vk_cs_")
    assert second.startswith("vk_cs_")
    assert first != second


def test_the_audit_log_is_printed_and_exported(deployment: Deployment) -> None:
    exported = [json.loads(line) for line in deployment.run("audit", "export").splitlines()]
    tail = deployment.run("audit", "tail", "--last", "1").splitlines()

    assert [entry["id"] for entry in exported] == sorted(entry["id"] for entry in exported)
    assert {"account.created", "client.created"} <= {entry["event"] for entry in exported}
    assert len(tail) == 1
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  ", tail[0])
    assert exported[-1]["event"] in tail[0]
    assert deployment.run("audit", "export", "--since", "2999-01-01") == ""
    assert PASSWORD not in str(exported)


def test_a_backup_of_a_database_in_use_is_complete(
    deployment: Deployment, server: RunningServer, tmp_path: Path
) -> None:
    assert server.metadata
    copy = tmp_path / "copy.db"

    output = deployment.run("backup", str(copy))

    assert "encryption.key" in output
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert ("shop",) in connection.execute("SELECT client_id FROM valetkey_clients").fetchall()
    assert [path.name for path in tmp_path.iterdir()] == ["copy.db"]
    with pytest.raises(AssertionError, match="already exists"):
        deployment.run("backup", str(copy))
    with pytest.raises(AssertionError, match="cannot be written"):
        deployment.run("backup", str(tmp_path / "no" / "folder" / "copy.db"))


def test_a_backup_of_postgresql_is_refused_with_a_hint_at_pg_dump(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="pg_dump"):
        back_up("postgresql://valetkey@127.0.0.1/valetkey", tmp_path / "copy")


def test_prune_prints_how_many_rows_were_removed(deployment: Deployment) -> None:
    assert "rows removed" in deployment.run("prune")
    assert json.loads(deployment.run("prune", "--json"))["valetkey_codes"] == 0


def test_prune_names_the_tables_that_it_could_not_prune(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.run("init")
    with closing(sqlite3.connect(tmp_path / "valetkey.db")) as connection, connection:
        connection.execute("ALTER TABLE valetkey_usage RENAME COLUMN hour TO day")

    with pytest.raises(AssertionError, match="exit code 1") as failure:
        deployment.run("prune", "--json")

    assert '"valetkey_codes": 0' in str(failure.value)
    assert "Error: not pruned, for the reasons above: valetkey_usage\n" in str(failure.value)


def _key_states(deployment: Deployment) -> list[str]:
    return [key["state"] for key in json.loads(deployment.run("keys", "list", "--json"))]
