"""A host with Flask-WTF's CSRFProtect, Flask-Migrate and Flask-Admin: nothing of theirs or ours gets in the way."""

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


class Admitting(ModelView):
    """The host's admin view of its notes; its forms are Flask-WTF's, as CSRFProtect wants them."""

    form_base_class = FlaskForm


@dataclass(frozen=True)
class Host:
    app: Flask
    db: Any
    note: Any
    migrations: Path

    def notes(self) -> list[str]:
        with self.app.app_context():
            return [note.text for note in self.db.session.scalars(self.db.select(self.note))]


@pytest.fixture(params=["in a store of its own", "in the host's database"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """All three and Valetkey in one app, made by a factory in which Valetkey is neither first nor last."""
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
    chosen = lambda name, kind, parents: name != "of_another_program"  # noqa: E731 - the host's own choice
    Migrate(app, db, directory=str(tmp_path / "migrations"), include_name=chosen)
    Admin(app, name="Host").add_view(Admitting(note, db, endpoint="notes"))
    _add_routes(app, db, note)
    runtime = app.extensions["valetkey"]
    runtime.get_ready()
    yield Host(app, db, note, tmp_path / "migrations" / "versions")
    runtime.close()
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Flask-Migrate sets up logging by a file, which turns off every logger that there is."""
    loggers = [one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [(one, one.disabled, one.level) for one in (logging.getLogger(), *loggers)]
    handlers = logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    for one, disabled, level in before:
        one.disabled = disabled
        one.setLevel(level)


@pytest.fixture
def migrated(host: Host, logging_as_it_was: None) -> Host:
    """The host after its first ``flask db migrate`` and ``upgrade``, in a database that another program uses too."""
    with host.app.app_context(), host.db.engine.begin() as connection:
        connection.execute(text("CREATE TABLE of_another_program (id INTEGER)"))
    for command in (["init"], ["migrate", "-m", "first"], ["upgrade"]):
        _flask_db(host, *command)
    return host


def test_flask_db_migrate_sees_the_hosts_tables_and_none_of_ours(migrated: Host) -> None:
    first = _only_file(migrated.migrations)
    assert "create_table('note'" in first
    assert "valetkey" not in first
    assert "of_another_program" not in first

    assert "No changes in schema detected" in _flask_db(migrated, "migrate", "-m", "second")
    with migrated.app.app_context():
        tables = set(inspect(migrated.db.engine).get_table_names())
    assert {"note", "alembic_version"} <= tables


def test_the_hosts_forms_still_need_the_hosts_token(migrated: Host) -> None:
    browser = migrated.app.test_client()
    assert browser.post("/notes", data={"text": "forged"}).status_code == 400
    token = _token(browser.get("/notes").text, "host_token")
    assert browser.post("/notes", data={"text": "meant", "host_token": token}).status_code == 200
    assert migrated.notes() == ["meant"]


def test_the_admin_lists_and_creates_as_before(migrated: Host) -> None:
    browser = migrated.app.test_client()
    assert browser.get("/admin/").status_code == 200
    assert browser.post("/admin/notes/new/", data={"text": "forged"}).status_code == 400
    token = _token(browser.get("/admin/notes/new/").text, "host_token")
    made = browser.post("/admin/notes/new/", data={"text": "by hand", "host_token": token})
    assert made.status_code == 302
    assert "by hand" in browser.get("/admin/notes/").text
    assert migrated.notes() == ["by hand"]


def test_our_pages_and_endpoints_need_our_token_and_not_the_hosts(host: Host) -> None:
    runtime = host.app.extensions["valetkey"]
    client = register_client(runtime, name="Sunflower", policy="browser", redirect_uris=[CALLBACK])
    browser = host.app.test_client()

    form = browser.get("/account/sign-up").text
    person = {"name": "Maya", "email": "maya@example.com", "password": "a violet tram in june"}
    assert browser.post("/account/sign-up", data=person).status_code == 400
    browser.post("/account/sign-up", data={**person, "csrf_token": _token(form, "csrf_token")})

    asked = {"response_type": "code", "client_id": client.client_id, "scope": "profile"}
    asked |= {"code_challenge": s256(VERIFIER), "code_challenge_method": "S256"}
    consent = browser.get(f"/oauth/authorize?{urlencode(asked)}", follow_redirects=True)
    answer = {"decision": "allow", "scope": "profile"}
    forged = browser.post(consent.request.path, data=answer)
    assert (forged.status_code, "Location" in forged.headers) == (400, False)
    allowed = browser.post(consent.request.path, data={**answer, "csrf_token": _token(consent.text, "csrf_token")})
    assert allowed.location.startswith(f"{CALLBACK}?code=")

    tokens = _redeem(host.app.test_client(), client.client_id, allowed.location)
    header = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert host.app.test_client().get("/api/notes", headers=header).status_code == 200
    ended = host.app.test_client().post(
        "/oauth/revoke", data={"client_id": client.client_id, "token": tokens["access_token"]}
    )
    assert ended.status_code == 200


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
    return result.output + result.stderr


def _only_file(folder: Path) -> str:
    (found,) = folder.glob("*.py")
    return found.read_text()


def _token(page: str, name: str) -> str:
    found = re.search(rf'name="{name}"[^>]*value="([^"]+)"', page)
    assert found, page
    return found[1]


def _redeem(client: FlaskClient, client_id: str, location: str) -> dict[str, Any]:
    code = re.search(r"code=([^&]+)", location)
    assert code
    sent = {"grant_type": "authorization_code", "code": code[1], "code_verifier": VERIFIER, "client_id": client_id}
    answer = client.post("/oauth/token", data=sent)
    assert answer.status_code == 200, answer.text
    return dict(answer.json or {})
