"""A PostgreSQL server, started from the installed binaries, that creates databases within milliseconds."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
from psycopg import sql

from tests.support.program import NotInstalled, Program, free_port, with_parent_death_signal

NON_DURABLE_SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class PostgreSQLServer:
    """A PostgreSQL server in a temporary directory. It can be stopped and started again with the same port and data.

    :param durable: whether committed data survives ``kill()``. If not, the server is faster.
    """

    def __init__(self, *, durable: bool = False, max_connections: int = 200) -> None:
        self.port = free_port()
        self._settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            f"port={self.port}",
            f"max_connections={max_connections}",
            *(() if durable else NON_DURABLE_SETTINGS),
        ]
        self._database_numbers = itertools.count(1)
        self._templates: set[str] = set()
        self._program: Program | None = None

    def __enter__(self) -> PostgreSQLServer:
        self._directory = Path(tempfile.mkdtemp(prefix="valetkey-postgresql-"))
        self._data = self._directory / "data"
        self._run_as = None if os.geteuid() else "postgres"  # PostgreSQL refuses to run as root
        if self._run_as:
            account = pwd.getpwnam(self._run_as)
            os.chown(self._directory, account.pw_uid, account.pw_gid)
        try:
            self._run_initdb()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the server and wait until it accepts connections."""
        settings = [word for setting in self._settings for word in ("-c", setting)]
        self._program = Program(
            [str(find_postgresql_binaries() / "postgres"), "-D", str(self._data), *settings],
            log=self._directory / "server.log",
            is_ready=self._is_ready,
            cwd=self._directory,
            run_as=self._run_as,
            stop_signal=signal.SIGINT,  # "fast" shutdown: transactions are rolled back and connections closed
        )

    def stop(self) -> None:
        """Stop the server as an operator does. Its data stays."""
        if self._program is not None:
            self._program.stop()
            self._program = None

    def kill(self) -> None:
        """Stop the server as a power cut does. With ``durable=True`` all committed data stays."""
        if self._program is not None:
            self._program.kill()
            self._program = None

    def frozen(self) -> AbstractContextManager[None]:
        """Suspend the server during the block: it accepts connections and data but does not respond."""
        assert self._program is not None
        return self._program.frozen()

    def close(self) -> None:
        """Stop the server at once and remove its data."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database of this server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, prepare: Callable[[str], object] | None = None) -> str:
        """Create a database and return its URL. The database is empty, or a copy of one that ``prepare`` filled.

        :param prepare: a function that fills the database at a URL. It runs once per server, and each further call
            copies its result. It must close its connections before it returns.
        """
        if prepare is None:
            return self._create_from_template(f"test_{next(self._database_numbers)}")
        template = f"template_{prepare.__module__}_{prepare.__qualname__}".lower()[:63]
        if template not in self._templates:
            prepare(self._create_from_template(template))
            self._templates.add(template)
        return self._create_from_template(f"test_{next(self._database_numbers)}", template)

    def drop_database(self, url: str) -> None:
        """Remove a database, even if clients are connected to it."""
        self._execute("DROP DATABASE {} WITH (FORCE)", url.rpartition("/")[2])

    def _create_from_template(self, name: str, template: str = "template0") -> str:
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, template)
        return self.url(name)

    def _execute(self, statement: str, *identifiers: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, identifiers)))

    def _run_initdb(self) -> None:
        command = [str(find_postgresql_binaries() / "initdb"), "-D", str(self._data), "-U", "postgres", "--auth=trust"]
        command += ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8"]
        command = with_parent_death_signal(command, self._run_as)
        completed = subprocess.run(command, cwd=self._directory, capture_output=True, text=True, check=False)
        if completed.returncode:
            raise AssertionError(f"initdb failed\n{completed.stdout}{completed.stderr}")

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def find_postgresql_binaries() -> Path:
    """Return the directory of the programs of the newest installed PostgreSQL server.

    :raises NotInstalled: if there is no PostgreSQL 15 or later.
    """
    directories = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    supported = [path for path in directories if int(path.parent.name) >= 15]
    if supported:
        return max(supported, key=lambda path: int(path.parent.name))
    raise NotInstalled("PostgreSQL 15+ is not installed: run `make test`, or as root `apt-get install postgresql`")
