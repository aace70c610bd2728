"""Valetkey in a host app with Flask-WTF's CSRFProtect, Flask-Migrate and Flask-Admin: all of them keep working."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask, jsonify
from flask.testing import FlaskClient
from flask.typing import ResponseReturnValue
from flask_admin import Admin
from flask_admin.contrib.sqla import ModelView
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect, FlaskForm
from sqlalchemy import inspect, text
from wtforms import StringField

from tests.support.user import CALLBACK
from valetkey import Valetkey, require_oauth
from valetkey.authorization_server.clients.service import register_client
from valetkey.protocol.pkce import s256

VERIFIER = "v" * 43

pytestmark = pytest.mark.filterwarnings("ignore:'get_engine' is deprecated:DeprecationWarning")  # Flask-Migrate's


class NoteForm(FlaskForm):
    text = StringField()


class NoteAdminView(ModelView):
    """The host's admin view of its notes. Its forms have the tokens that CSRFProtect requires."""

    form_base_class = FlaskForm


@dataclass(frozen=True)
class Host:
    """The host app with its database, its model of notes, and the folder of its migrations."""

    app: Flask
    db: Any
    note: Any
    migrations: Path

    def notes(self) -> list[str]:
        with self.app.app_context():
            return [note.text for note in self.db.session.scalars(self.db.select(self.note))]


@pytest.fixture(params=["in its own database", "in the host's database"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """An app with all three extensions and Valetkey, which is initialized neither first nor last."""
    url = f"sqlite:///{tmp_path / 'host.db'}"
    shared = {"database_url": url} if request.param == "in the host's database" else {}
    app = Flask("host", root_path=str(tmp_path))
    app.config.update(SECRET_KEY="of the test", SQLALCHEMY_DATABASE_URI=url, WTF_CSRF_FIELD_NAME="host_token")
    db = SQLAlchemy()
    note = type("Note", (db.Model,), {"id": db.Column(db.Integer, primary_key=True), "text": db.Column(db.Text)})
    csrf = CSRFProtect()
    valet = Valetkey(scopes={"profile": "See your name"}, data_dir=str(tmp_path), embedded_worker=False, **shared)

    db.init_app(app)
    valet.init_app(app)
    csrf.init_app(app)
    Migrate(app, db, directory=str(tmp_path / "migrations"), include_name=_is_included)
    Admin(app, name="Host").add_view(NoteAdminView(note, db, endpoint="notes"))
    _add_routes(app, db, note)
    runtime = app.extensions["valetkey"]
    runtime.get_ready()
    yield Host(app, db, note, tmp_path / "migrations" / "versions")
    runtime.close()
    with app.app_context():
        db.engine.dispose()


def _is_included(name: str | None, kind: str, parents: Any) -> bool:
    """Return whether Flask-Migrate handles a table: the setting ``include_name`` of the host."""
    return name != "of_another_program"


@pytest.fixture
def restore_logging() -> Iterator[None]:
    """Restore logging after the test: Flask-Migrate configures it from a file, which disables all existing loggers."""
    values = logging.Logger.manager.loggerDict.values()
    loggers = [logging.getLogger(), *(logger for logger in values if isinstance(logger, logging.Logger))]
    states = [(logger, logger.disabled, logger.level) for logger in loggers]
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    for logger, disabled, level in states:
        logger.disabled = disabled
        logger.setLevel(level)


@pytest.fixture
def migrated(host: Host, restore_logging: None) -> Host:
    """The host after its first ``flask db migrate`` and ``upgrade``, in a database that another program uses too."""
    with host.app.app_context(), host.db.engine.begin() as connection:
        connection.execute(text("CREATE TABLE of_another_program (id INTEGER)"))
    for command in (["init"], ["migrate", "-m", "first"], ["upgrade"]):
        _flask_db(host, *command)
    return host


def test_flask_db_migrate_handles_the_hosts_tables_and_ignores_valetkeys(migrated: Host) -> None:
    first = _only_file(migrated.migrations)
    assert "create_table('note'" in first
    assert "valetkey" not in first
    assert "of_another_program" not in first

    assert "No changes in schema detected" in _flask_db(migrated, "migrate", "-m", "second")
    with migrated.app.app_context():
        tables = set(inspect(migrated.db.engine).get_table_names())
    assert {"note", "alembic_version"} <= tables


def test_the_hosts_forms_still_require_the_hosts_csrf_token(migrated: Host) -> None:
    browser = migrated.app.test_client()
    assert browser.post("/notes", data={"text": "forged"}).status_code == 400
    token = _find_token(browser.get("/notes").text, "host_token")
    assert browser.post("/notes", data={"text": "meant", "host_token": token}).status_code == 200
    assert migrated.notes() == ["meant"]


def test_flask_admin_lists_and_creates_notes(migrated: Host) -> None:
    browser = migrated.app.test_client()
    assert browser.get("/admin/").status_code == 200
    assert browser.post("/admin/notes/new/", data={"text": "forged"}).status_code == 400
    token = _find_token(browser.get("/admin/notes/new/").text, "host_token")
    created = browser.post("/admin/notes/new/", data={"text": "by hand", "host_token": token})
    assert created.status_code == 302
    assert "by hand" in browser.get("/admin/notes/").text
    assert migrated.notes() == ["by hand"]


def test_valetkeys_forms_require_its_own_csrf_token_only(host: Host) -> None:
    runtime = host.app.extensions["valetkey"]
    client = register_client(runtime, runtime.clock(), name="Sunflower", policy="browser", redirect_uris=[CALLBACK])
    browser = host.app.test_client()

    form = browser.get("/account/sign-up").text
    account = {"name": "Maya", "email": "maya@example.com", "password": "a violet tram in june"}
    assert browser.post("/account/sign-up", data=account).status_code == 400
    browser.post("/account/sign-up", data={**account, "csrf_token": _find_token(form, "csrf_token")})

    parameters = {"response_type": "code", "client_id": client.client_id, "scope": "profile"}
    parameters |= {"code_challenge": s256(VERIFIER), "code_challenge_method": "S256"}
    consent = browser.get(f"/oauth/authorize?{urlencode(parameters)}", follow_redirects=True)
    decision = {"decision": "allow", "scope": "profile"}
    forged = browser.post(consent.request.path, data=decision)
    assert (forged.status_code, "Location" in forged.headers) == (400, False)
    csrf_token = _find_token(consent.text, "csrf_token")
    allowed = browser.post(consent.request.path, data={**decision, "csrf_token": csrf_token})
    assert allowed.location.startswith(f"{CALLBACK}?code=")

    tokens = _redeem(host.app.test_client(), client.client_id, allowed.location)
    header = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert host.app.test_client().get("/api/notes", headers=header).status_code == 200
    revoked = host.app.test_client().post(
        "/oauth/revoke", data={"client_id": client.client_id, "token": tokens["access_token"]}
    )
    assert revoked.status_code == 200


def _add_routes(app: Flask, db: Any, note: Any) -> None:
    @app.route("/notes", methods=["GET", "POST"])
    def notes() -> ResponseReturnValue:
        form = NoteForm()
        if form.validate_on_submit():
            db.session.add(note(text=form.text.data))
            db.session.commit()
        return str(form.hidden_tag())

    @app.get("/api/notes")
    @require_oauth("profile")
    def api_notes() -> ResponseReturnValue:
        return jsonify(notes=[])


def _flask_db(host: Host, *arguments: str) -> str:
    result = host.app.test_cli_runner().invoke(args=["db", *arguments])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.output  # with what was written to stderr


def _only_file(folder: Path) -> str:
    """Return the text of the only Python file in a folder."""
    (file,) = folder.glob("*.py")
    return file.read_text()


def _find_token(page: str, name: str) -> str:
    """Return the value of the form field with this name."""
    match = re.search(rf'name="{name}"[^>]*value="([^"]+)"', page)
    assert match, page
    return match[1]


def _redeem(client: FlaskClient, client_id: str, location: str) -> dict[str, Any]:
    code = re.search(r"code=([^&]+)", location)
    assert code
    form = {"grant_type": "authorization_code", "code": code[1], "code_verifier": VERIFIER, "client_id": client_id}
    response = client.post("/oauth/token", data=form)
    assert response.status_code == 200, response.text
    return dict(response.json or {})
