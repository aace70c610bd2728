"""PgBouncer in front of a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psycopg

from tests.support.program import Program, find_program, free_port

_CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={database_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
unix_socket_dir =
pool_mode = {pool_mode}
default_pool_size = {pool_size}
max_client_conn = 500
"""


class PgBouncer:
    """A PgBouncer of few server connections in front of the PostgreSQL server on a port.

    :param pool_mode: ``transaction``, ``session`` or ``statement``.
    """

    def __init__(self, database_port: int, *, pool_mode: str = "transaction", pool_size: int = 3) -> None:
        self.port = free_port()
        self._configuration = _CONFIGURATION.format(
            database_port=database_port, port=self.port, pool_mode=pool_mode, pool_size=pool_size
        ).replace("* =", "* = user=postgres")

    def __enter__(self) -> PgBouncer:
        self._directory = Path(tempfile.mkdtemp(prefix="valetkey-pgbouncer-"))
        self._directory.chmod(0o755)
        configuration = self._directory / "pgbouncer.ini"
        configuration.write_text(self._configuration)
        self._program = Program(
            [find_program(["pgbouncer", "/usr/sbin/pgbouncer"], package="pgbouncer"), str(configuration)],
            log=self._directory / "pgbouncer.log",
            is_ready=self._is_ready,
            run_as=None if os.geteuid() else "postgres",  # PgBouncer refuses to run as root
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._program.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def url(self, database_url: str) -> str:
        """Return the URL of a database of the PostgreSQL server, through PgBouncer."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database_url.rpartition('/')[2]}"

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self.url("/postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True
