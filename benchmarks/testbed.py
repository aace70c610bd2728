"""What all rows of a run share: two CPU cores, folders on disk, and started programs, which are stopped at the end."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from benchmarks import installation
from tests.support.postgres import PostgreSQLServer
from tests.support.program import Program, free_port
from tests.support.redis_server import RedisServer

Value = TypeVar("Value")
DISK_DIR = "/var/tmp"  # /tmp may be in memory, and durable writes cost nothing there


@dataclass
class Testbed:
    """What all rows of a run share.

    :ivar cores: the CPU core of the measured server, and the core of everything else.
    :ivar cleanup: what is closed and deleted at the end of the run.
    :ivar cache: values of ``once`` by name.
    """

    cores: tuple[int, int]
    cleanup: ExitStack = field(default_factory=ExitStack)
    cache: dict[str, Any] = field(default_factory=dict)

    @property
    def both_cores(self) -> str:
        """Both cores, as ``taskset`` takes them."""
        return ",".join(map(str, self.cores))

    def folder(self) -> Path:
        """Return a new folder on disk, which is deleted at the end."""
        path = Path(tempfile.mkdtemp(prefix="valetkey-benchmark-", dir=DISK_DIR))
        self.cleanup.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    def once(self, name: str, create: Callable[[], Value]) -> Value:
        """Return the value with this name; ``create`` is called at the first use."""
        if name not in self.cache:
            self.cache[name] = create()
        value: Value = self.cache[name]
        return value

    def start(
        self,
        running: ExitStack,
        command: Sequence[str],
        is_ready: Callable[[], bool],
        *,
        environment: Mapping[str, str] | None = None,
        cores: str | None = None,
    ) -> Program:
        """Start a server under SCHED_BATCH; it is stopped when ``running`` closes.

        :param cores: CPU cores, as ``taskset`` takes them; the default is the server's core.
        """
        folder = self.folder()
        pinned = ["taskset", "-c", cores or str(self.cores[0]), "chrt", "--batch", "0", *command]
        program = Program(
            pinned, log=folder / "log", is_ready=is_ready, environment=environment, cwd=folder, timeout_s=60
        )
        running.callback(program.kill)
        return program

    def postgresql(self) -> PostgreSQLServer:
        """Return the PostgreSQL server of the run, whose commits are durable. It uses the core of the load."""
        return self.once("postgresql", self._start_postgresql)

    def redis_url(self) -> str:
        """Return the URL of the Redis server of the run. It uses the core of the load."""
        return self.once("redis", self._start_redis).url

    def _start_redis(self) -> RedisServer:
        installation.install_debian_package("/usr/bin/redis-server", "redis-server")
        with on_core(self.cores[1]):
            return self.cleanup.enter_context(RedisServer())

    def _start_postgresql(self) -> PostgreSQLServer:
        installation.install_debian_package("/usr/lib/postgresql/*/bin/initdb", "postgresql")
        with on_core(self.cores[1]):
            return self.cleanup.enter_context(PostgreSQLServer(durable=True))


def measure_fsync_ms() -> float:
    """Return the median time of 50 calls of fsync on the disk of the databases, in milliseconds."""
    times = []
    with tempfile.NamedTemporaryFile(dir=DISK_DIR) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return median(times)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Pin this thread to one core, and the programs that it starts within the ``with`` block."""
    previous_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, previous_cores)


@contextmanager
def open_testbed() -> Iterator[Testbed]:
    """Create a testbed on the first two usable cores. At the end, all started programs are stopped.

    :raises SystemExit: if there are fewer than two cores.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("Two cores are needed: one for the server, one for the load.")
    tempfile.tempdir = DISK_DIR  # for the data of PostgreSQL
    testbed = Testbed((cores[0], cores[1]))
    with testbed.cleanup:
        yield testbed


def peer_environment(**values: Any) -> dict[str, str]:
    """Return the environment of another server, with these values as its configuration."""
    return {**os.environ, "NODE_ENV": "production", "CONFIGURATION": json.dumps(values)}


__all__ = ["Testbed", "free_port", "measure_fsync_ms", "on_core", "open_testbed", "peer_environment"]
