"""A database, a backup of it, and the command that restores it."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.valetkey_server import Deployment
from valetkey.settings import Settings
from valetkey.storage.engine.backup import back_up
from valetkey.storage.engine.open import open_store
from valetkey.storage.schema import upgrade_schema
from valetkey.tokens.encryption import Cipher
from valetkey.tokens.key_rotation import create_initial_keys


class RestorableSite:
    """A deployment with a database, a backup of it with one user, and a second user who signed up later."""

    def __init__(self, folder: Path) -> None:
        self.deployment = Deployment(folder / "var")
        self.folder = folder / "var"
        self.folder.mkdir()
        self.database = self.folder / "valetkey.db"
        self.backup = folder / "backup.db"
        self.url = f"sqlite:///{self.database}"
        upgrade_schema(self.url)
        store = open_store(self.url)
        create_initial_keys(store, Cipher(Settings(data_dir=str(self.folder))), 0.0)
        store.close()
        self.add_user("before@example.org")
        back_up(self.url, self.backup)
        self.add_user("after@example.org")

    def add_user(self, email: str) -> None:
        """Add an account to the database, as if a user signed up."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(
                "INSERT INTO valetkey_accounts (sub, email, name, claims, created_at) VALUES (?, ?, 'Name', '{}', 0)",
                (email, email),
            )

    def users(self, database: Path | None = None) -> list[str]:
        """Return the e-mail addresses of all accounts, and check that the database is not damaged."""
        with closing(sqlite3.connect(database or self.database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return sorted(row[0] for row in connection.execute("SELECT email FROM valetkey_accounts"))

    def command(self, *options: str, file: Path | None = None) -> list[str]:
        """Return the command line that restores the backup, or another file."""
        return self.deployment.command("restore", str(file or self.backup), *options)

    def restore(self, *options: str, file: Path | None = None, **arguments: Any) -> subprocess.CompletedProcess[str]:
        """Run the command that restores the backup, or another file."""
        return subprocess.run(
            self.command(*options, file=file),
            env=self.deployment.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **arguments,
        )

    def refusal(self, *options: str, file: Path | None = None) -> str:
        """Run a restore that must be refused and change nothing. Return its message."""
        result = self.restore("--yes", *options, file=file)
        assert result.returncode == 1, result.stdout
        assert "Traceback" not in result.stderr
        assert self.users() == ["after@example.org", "before@example.org"]
        assert list(self.folder.glob("*.restoring")) + list(self.folder.glob("*.replaced-*")) == []
        return result.stderr

    def replaced_files(self) -> list[Path]:
        """Return the databases that restores have replaced."""
        return sorted(self.folder.glob("valetkey.db.replaced-*"))
