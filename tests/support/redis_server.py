"""A Redis (or Valkey) server that stores nothing on disk."""

from __future__ import annotations

import shutil
import socket
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from tests.support.program import Program, find_program, free_port


class RedisServer:
    """A Redis server in a temporary directory. It can be stopped and started again on the same port, without data."""

    def __init__(self, *options: str) -> None:
        """:param options: further options of the program, such as ``--maxmemory 1mb``."""
        self.port = free_port()
        self.cluster_port = free_port()  # by default Redis takes the port plus 10,000, which a connection may use
        self._options = options
        self._program: Program | None = None

    def __enter__(self) -> RedisServer:
        self._directory = Path(tempfile.mkdtemp(prefix="valetkey-redis-"))
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL of the server's first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it responds."""
        server = find_program(["redis-server", "valkey-server"], package="redis-server")
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        if "--cluster-enabled" in self._options:
            settings += ["--cluster-port", str(self.cluster_port)]
        self._program = Program(
            [server, *settings, "--dir", str(self._directory), *self._options],
            log=self._directory / "server.log",
            is_ready=lambda: self._send_command("PING") == b"+PONG\r\n",
            cwd=self._directory,
        )

    def stop(self) -> None:
        """Stop the server. Its data is lost."""
        if self._program is not None:
            self._program.stop()
            self._program = None

    def frozen(self) -> AbstractContextManager[None]:
        """Suspend the server during the block: it accepts connections and data but does not respond."""
        assert self._program is not None
        return self._program.frozen()

    def flush(self) -> None:
        """Delete every key of every database."""
        if (response := self._send_command("FLUSHALL")) != b"+OK\r\n":
            raise AssertionError(f"Redis responded {response!r} to FLUSHALL")

    def close(self) -> None:
        """Stop the server at once and remove its directory."""
        if self._program is not None:
            self._program.kill()
            self._program = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def _send_command(self, command: str) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(f"{command}\r\n".encode())
                return connection.recv(1024)
        except OSError:
            return b""
