"""Files, error codes, migrations, types and help, as ``docs/structure.md`` promises them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from sqlalchemy import create_engine

import valetkey
from valetkey.cli import main
from valetkey.protocol import bearer, errors
from valetkey.protocol.errors import OAuthError
from valetkey.storage import schema
from valetkey.storage.schema import upgrade_schema
from valetkey.storage.tables import SCHEMA_VERSION_TABLE, metadata

SOURCE = Path(valetkey.__file__).parent


def test_no_file_is_over_350_lines() -> None:
    long = {
        str(path.relative_to(SOURCE)): lines
        for path in SOURCE.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 350
    }

    assert long == {}


def test_no_file_is_named_for_nothing() -> None:
    named = {path.stem for path in SOURCE.rglob("*.py")}

    assert not named & {"utils", "util", "helpers", "common", "services", "manager", "misc"}


def test_every_module_says_what_it_knows() -> None:
    silent = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if not path.read_text().startswith('"""')]

    assert silent == []


def test_there_is_one_class_for_each_error_code_and_status() -> None:
    classes = [
        one
        for module in (errors, bearer)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, OAuthError) and one not in {OAuthError, bearer.MissingToken}
    ]
    codes = [(one.error, one.status) for one in {*classes}]

    assert len(codes) == len(set(codes)) > 15


def test_nobody_compares_the_text_of_an_exception() -> None:
    sinners = [
        f"{path.name}: {line.strip()}"
        for path in SOURCE.rglob("*.py")
        if path.parent.name != "storage"  # a driver's errors have no codes to go by on SQLite
        for line in path.read_text().splitlines()
        if re.search(r"""["'] in str\(|str\(\w+\) ==|\.description ==""", line)
    ]

    assert sinners == []


def test_the_revisions_that_the_code_knows_are_the_files() -> None:
    script = ScriptDirectory(str(SOURCE / "storage" / "migrations"))
    oldest_first = tuple(reversed([revision.revision for revision in script.walk_revisions()]))

    assert oldest_first == schema._REVISIONS
    assert script.get_current_head() == schema.HEAD_REVISION


def test_the_migrations_make_the_tables(database_url: str) -> None:
    upgrade_schema(database_url)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": SCHEMA_VERSION_TABLE, "compare_type": True}
        )
        difference = compare_metadata(context, metadata)
    engine.dispose()

    assert difference == []


def test_every_table_is_ours_by_its_name() -> None:
    assert all(name.startswith("valetkey_") for name in metadata.tables)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, command in group.commands.items():
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
def test_each_command_has_help(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*command, "--help"])

    assert shown.exit_code == 0, shown.output
    described = shown.output.split("Usage:", 1)[1].split("\n\n")[1]
    assert described.strip() and not described.strip().startswith("Options")


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
def test_no_list_of_commands_cuts_a_sentence_off(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*command, "--help"], terminal_width=80).output

    assert "...\n" not in shown.partition("Commands:")[2]


def test_the_commands_are_those_of_the_design() -> None:
    wanted = {"init", "serve", "work", "login", "users", "clients", "resources", "keys", "check", "prune", "db"}

    assert wanted <= main.commands.keys()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("VALETKEY_APP", "VALETKEY_DATA_DIR", "_VALETKEY_LAST"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr("valetkey.settings.sources._COMMAND_VALUES", ({}, {}))
    return tmp_path


def test_a_day_with_the_command_line(shell: Path) -> None:
    """Also the first day's ``prune``, when no limit was ever spent from."""

    def run(*words: str, status: int = 0) -> str:
        done = CliRunner().invoke(main, ["--data-dir", str(shell), *words])
        assert done.exit_code == status, done.output
        return done.output

    assert "ready" in run("init")
    assert "store: 0002, needed: 0002" in run("db", "version")
    run("prune")
    assert "client_secret" in run("clients", "create", "--name", "R", "--policy", "machine", "--json")
    assert "vk_cs_" not in run("clients", "list")
    assert (
        "at least 10 characters"
        in CliRunner()
        .invoke(
            main,
            ["--data-dir", str(shell), "users", "create", "--email", "a@b.c", "--password-stdin"],
            input="short\n",
        )
        .output
    )
    assert "Ready to serve" in run("check")


def test_what_a_person_can_mend_is_a_sentence_and_no_traceback(shell: Path) -> None:
    told = CliRunner().invoke(main, ["--app", "no_such_module:app", "check"])

    assert told.exit_code == 1
    assert told.output == "Error: there is no module no_such_module: name the app as module:app or path/to/app.py\n"


SNIPPET = """
from flask import Flask
from valetkey import ResourceServer, TrustedIssuer, Valetkey, current_token, public, require_oauth

app = Flask(__name__)
valet = Valetkey(app, scopes={"profile": "See your name"})
later = Valetkey()
later.init_app(app)


@require_oauth("profile", limit="1/second", cost=2)
def one(number: int) -> str:
    return f"{current_token.user_id} {sorted(current_token.scopes)}"


@require_oauth
def two() -> int:
    return 2


@require_oauth(["a", "b"], optional=True)
def three() -> None: ...


@public
def four() -> bytes:
    return b""


@public(limit="1/second")
def five(*, name: str) -> str:
    return name


reveal_type(one)
reveal_type(two)
reveal_type(four)
reveal_type(five)
reveal_type(current_token.user_id)
one("wrong")
require_oauth(5)
Valetkey(app, scopes=["profile"])
keycloak = TrustedIssuer("https://sso.example.com/realms/shop", like="keycloak", audience=["account"], clients=["web"])
ResourceServer(app, trusted_issuers=["https://id.example.com", keycloak], resource="https://api.example.com")
ResourceServer(app, trusted_issuers=[5])
TrustedIssuer("https://id.example.com", like="okto")
"""


def test_the_public_api_type_checks_from_outside(tmp_path: Path) -> None:
    snippet = tmp_path / "publisher.py"
    snippet.write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", snippet.name]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout

    revealed = [one.replace("builtins.", "") for one in re.findall(r'Revealed type is "([^"]+)"', told)]
    assert revealed[:4] == [
        "def (number: int) -> str",
        "def () -> int",
        "def () -> bytes",
        "def (*, name: str) -> str",
    ], told
    mistakes = re.findall(r"publisher.py:(\d+): error", told)
    lines = SNIPPET.splitlines()
    assert {lines[int(number) - 1] for number in mistakes} == {
        'one("wrong")',
        "require_oauth(5)",
        'Valetkey(app, scopes=["profile"])',
        "ResourceServer(app, trusted_issuers=[5])",
        'TrustedIssuer("https://id.example.com", like="okto")',
    }, told


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (
            "import os\nimport no_such_package\n",
            ("app.py:2", "import no_such_package", "ModuleNotFoundError: No module"),
        ),
        ("x = 1\ndef f(:\n", ("app.py:2", "def f(:", "SyntaxError: ")),
        ("import json\n\njson.loads('{')\n", ("app.py:3", "json.loads('{')", "JSONDecodeError: ")),
    ],
    ids=["a missing package", "a slip of the pen", "an error in a library"],
)
def test_an_app_that_cannot_be_loaded_is_told_in_few_lines(shell: Path, program: str, told: tuple[str, ...]) -> None:
    (shell / "app.py").write_text(program)

    done = CliRunner().invoke(main, ["--app", str(shell / "app.py"), "check"])

    assert done.exit_code == 1
    assert all(words in done.output for words in told), done.output
    assert "Traceback" not in done.output
    assert len(done.output.splitlines()) <= 5


@pytest.mark.parametrize(
    ("program", "name", "told"),
    [
        ("app = {}", "app.py:other", "app.py has no other"),
        ("def create_app(): ...", "app.py:api", "app.py has no api"),
        ("from flask import Flask\napi = Flask('api')", "app.py", "has no app and no create_app; did you mean {}:api?"),
        ("def create_app():\n    return 1 / 0", "app.py", "ZeroDivisionError: division by zero"),
    ],
    ids=["another name", "a factory is not what was named", "the name is told", "a factory that fails"],
)
def test_only_the_app_that_was_named_is_served(shell: Path, program: str, name: str, told: str) -> None:
    (shell / "app.py").write_text(program + "\n")

    done = CliRunner().invoke(main, ["--app", str(shell / name), "check"])

    assert done.exit_code == 1
    assert told.format(shell / "app.py") in done.output, done.output
