"""Rules for the whole project: files, error codes, migrations, commands and their help, types of the public API."""

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
from valetkey.storage.engine.transaction import SCHEMA_VERSION_TABLE
from valetkey.storage.schema import upgrade_schema
from valetkey.storage.tables import metadata

SOURCE = Path(valetkey.__file__).parent


def test_every_form_of_a_page_has_the_csrf_field_of_a_wtforms_form() -> None:
    """Except the forms that are posted to a client: they change nothing here."""
    for template in SOURCE.rglob("*.html"):
        text = template.read_text()
        forms = re.findall(r'<form method="post".*?</form>', text, re.DOTALL)
        if template.name not in {"form_post.html", "manual_redirect.html"}:
            assert text.count('method="post"') == len(forms) == len(re.findall(r"orm\.csrf_token\b", text)), (
                template.name
            )
        assert 'name="csrf_token"' not in text, template.name


def test_no_file_is_longer_than_350_lines() -> None:
    long_files = {
        str(path.relative_to(SOURCE)): lines
        for path in SOURCE.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 350
    }

    assert long_files == {}


def test_no_file_has_a_name_without_meaning() -> None:
    names = {path.stem for path in SOURCE.rglob("*.py")}

    assert not names & {"utils", "util", "helpers", "common", "services", "manager", "misc"}


def test_every_module_has_a_docstring() -> None:
    missing = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if not path.read_text().startswith('"""')]

    assert missing == []


def test_there_is_one_class_for_each_error_code_and_status() -> None:
    classes = [
        value
        for module in (errors, bearer)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, OAuthError) and value not in {OAuthError, bearer.MissingToken}
    ]
    codes = [(error_class.error, error_class.status) for error_class in {*classes}]

    assert len(codes) == len(set(codes)) > 15


def test_no_code_compares_the_text_of_an_exception() -> None:
    comparisons = [
        f"{path.name}: {line.strip()}"
        for path in SOURCE.rglob("*.py")
        if path.parent.name != "storage"  # errors of the SQLite driver have no codes
        for line in path.read_text().splitlines()
        if re.search(r"""["'] in str\(|str\(\w+\) ==|\.description ==""", line)
    ]

    assert comparisons == []


def test_the_revisions_in_the_code_are_the_migration_files() -> None:
    script = ScriptDirectory(str(SOURCE / "storage" / "migrations"))
    oldest_first = tuple(reversed([revision.revision for revision in script.walk_revisions()]))

    assert oldest_first == schema._REVISIONS
    assert script.get_current_head() == schema.HEAD_REVISION


def test_the_migrations_create_the_tables_of_the_metadata(database_url: str) -> None:
    upgrade_schema(database_url)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": SCHEMA_VERSION_TABLE, "compare_type": True}
        )
        difference = compare_metadata(context, metadata)
    engine.dispose()

    assert difference == []


def test_every_table_name_starts_with_valetkey() -> None:
    assert all(name.startswith("valetkey_") for name in metadata.tables)


def subcommands(group: click.Group) -> dict[str, click.Command]:
    context = click.Context(group)
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in commands.items() if command}


def list_commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the names of a group and of all commands below it, as they follow each other on the command line."""
    paths = [path]
    for name, command in subcommands(group).items():
        paths += list_commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return paths


@pytest.mark.parametrize("command", list_commands(main), ids=" ".join)
def test_each_command_has_help(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])

    assert result.exit_code == 0, result.output
    description = result.output.split("Usage:", 1)[1].split("\n\n")[1]
    assert description.strip() and not description.strip().startswith("Options")


@pytest.mark.parametrize("command", list_commands(main), ids=" ".join)
def test_no_sentence_in_a_list_of_commands_is_cut_off(command: tuple[str, ...]) -> None:
    output = CliRunner().invoke(main, [*command, "--help"], terminal_width=80).output

    assert "...\n" not in output.partition("Commands:")[2]


def test_no_command_is_missing() -> None:
    expected = {"init", "serve", "work", "login", "users", "clients", "resources", "keys", "check", "prune", "db"}

    assert expected <= subcommands(main).keys()


def test_each_command_has_a_file_of_its_name() -> None:
    assert all((SOURCE / "cli" / f"{name.replace('-', '_')}.py").is_file() for name in subcommands(main))


def test_the_list_of_commands_has_the_first_sentence_of_their_help() -> None:
    output = CliRunner().invoke(main, ["--help"], terminal_width=120).output

    for name, command in subcommands(main).items():
        assert re.search(rf"^  {name} +{re.escape(command.get_short_help_str(100))}$", output, re.MULTILINE), name


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_import_neither_flask_nor_sqlalchemy(option: str) -> None:
    code = (
        "import sys; from valetkey.cli import main; main([sys.argv[1]], standalone_mode=False); "
        "sys.exit(str({'flask', 'sqlalchemy', 'httpx', 'pydantic', 'cryptography'} & {*sys.modules} or ''))"
    )
    run = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=False)

    assert run.stderr.strip() == ""
    assert "Commands:" in run.stdout if option == "--help" else "version" in run.stdout


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return tmp_path


def test_the_commands_work_on_a_new_data_directory(shell: Path) -> None:
    """Includes ``prune`` before any limit was ever charged."""

    def run(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(main, ["--data-dir", str(shell), *arguments])
        assert result.exit_code == status, result.output
        return result.output

    assert "ready" in run("init")
    assert "store: 0010, needed: 0010" in run("db", "version")
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


def test_an_error_that_the_operator_can_fix_is_a_message_without_a_traceback(shell: Path) -> None:
    result = CliRunner().invoke(main, ["--app", "no_such_module:app", "check"])

    assert result.exit_code == 1
    assert result.output == "Error: there is no module no_such_module: name the app as module:app or path/to/app.py\n"


SNIPPET = """
from flask import Blueprint, Flask
from valetkey import (
    Plan, ResourceServer, TrustedIssuer, Valetkey, current_token, protect, public, require_oauth
)

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
Valetkey(app, isuer="https://api.example.com")
Valetkey(app, access_token_lifetime="15 minutes")
Valetkey(app, cors="all")
Valetkey(app, issuer="https://api.example.com", plans={"free": Plan(limit="1/second")}, trusted_proxies=["10.0.0.0/8"])
protect(Blueprint("notes", __name__), "notes:read", limit="1/second", max_age=60)
protect(Blueprint("notes", __name__), "notes:read", limits="1/second")
keycloak = TrustedIssuer("https://sso.example.com/realms/shop", like="keycloak", audience=["account"], clients=["web"])
ResourceServer(app, trusted_issuers=["https://id.example.com", keycloak], resource="https://api.example.com")
ResourceServer(app, trusted_issuers=[5])
ResourceServer(app, resource="https://api.example.com", scopes={"notes:read": "Read notes"}, docs_path=None)
ResourceServer(app, resource="https://api.example.com", issuer="https://id.example.com")
TrustedIssuer("https://id.example.com", like="okto")
"""


def test_the_public_api_type_checks_from_outside(tmp_path: Path) -> None:
    snippet = tmp_path / "publisher.py"
    snippet.write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", snippet.name]
    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout

    revealed = [type_text.replace("builtins.", "") for type_text in re.findall(r'Revealed type is "([^"]+)"', output)]
    assert revealed[:4] == [
        "def (number: int) -> str",
        "def () -> int",
        "def () -> bytes",
        "def (*, name: str) -> str",
    ], output
    error_lines = re.findall(r"publisher.py:(\d+): error", output)
    lines = SNIPPET.splitlines()
    assert {lines[int(number) - 1] for number in error_lines} == {
        'one("wrong")',
        "require_oauth(5)",
        'Valetkey(app, scopes=["profile"])',
        'Valetkey(app, isuer="https://api.example.com")',
        'Valetkey(app, access_token_lifetime="15 minutes")',
        'Valetkey(app, cors="all")',
        'protect(Blueprint("notes", __name__), "notes:read", limits="1/second")',
        "ResourceServer(app, trusted_issuers=[5])",
        'ResourceServer(app, resource="https://api.example.com", issuer="https://id.example.com")',
        'TrustedIssuer("https://id.example.com", like="okto")',
    }, output


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (
            "import os\nimport no_such_package\n",
            ("app.py:2", "import no_such_package", "ModuleNotFoundError: No module"),
        ),
        ("x = 1\ndef f(:\n", ("app.py:2", "def f(:", "SyntaxError: ")),
        ("import json\n\njson.loads('{')\n", ("app.py:3", "json.loads('{')", "JSONDecodeError: ")),
    ],
    ids=["a missing package", "a syntax error", "an error in a library"],
)
def test_the_error_of_an_app_that_cannot_be_loaded_is_five_lines_at_most(
    shell: Path, program: str, expected: tuple[str, ...]
) -> None:
    (shell / "app.py").write_text(program)

    result = CliRunner().invoke(main, ["--app", str(shell / "app.py"), "check"])

    assert result.exit_code == 1
    assert all(text in result.output for text in expected), result.output
    assert "Traceback" not in result.output
    assert len(result.output.splitlines()) <= 5


@pytest.mark.parametrize(
    ("program", "name", "expected"),
    [
        ("app = {}", "app.py:other", "app.py has no other"),
        ("def create_app(): ...", "app.py:api", "app.py has no api"),
        (
            "from flask import Flask\napi, other = Flask('api'), Flask('other')",
            "app.py",
            "has no app and no create_app; did you mean {}:api?",
        ),
        ("def create_app(name): ...", "app.py", "could not call it without arguments"),
        ("def create_app(name): ...", "app.py:create_app(", "Failed to parse"),
        ("app = 1", "app.py:app", "A valid Flask application was not obtained"),
        ("", "nowhere/app", "there is no package or module"),
        ("def create_app():\n    return 1 / 0", "app.py", "ZeroDivisionError: division by zero"),
    ],
    ids=[
        "another name",
        "another name and a factory",
        "no name but two apps",
        "a factory with an argument",
        "a call that cannot be parsed",
        "no app",
        "a path that does not exist",
        "a factory that fails",
    ],
)
def test_only_the_named_app_is_loaded(shell: Path, program: str, name: str, expected: str) -> None:
    (shell / "app.py").write_text(program + "\n")

    result = CliRunner().invoke(main, ["--app", str(shell / name), "check"])

    assert result.exit_code == 1
    assert expected.format(shell / "app.py") in result.output, result.output
