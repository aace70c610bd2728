"""Where a run takes place: two cores, a folder on disk, and every program that it started and ends again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import installation
from tests.support.postgres import PostgreSQLServer
from tests.support.program import Program, free_port

Made = TypeVar("Made")
ON_DISK = "/var/tmp"  # /tmp may be memory, where a durable write costs nothing


@dataclass
class Place:
    """What the rows share. ``cores``: the first is the server's, the second everybody else's."""

    cores: tuple[int, int]
    open: ExitStack = field(default_factory=ExitStack)
    cache: dict[str, Any] = field(default_factory=dict)

    @property
    def both(self) -> str:
        return ",".join(map(str, self.cores))

    def folder(self) -> Path:
        """Answer a new folder on disk, removed at the end."""
        path = Path(tempfile.mkdtemp(prefix="valetkey-benchmark-", dir=ON_DISK))
        self.open.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """Answer what was made under this name, made at its first use."""
        if name not in self.cache:
            self.cache[name] = make()
        made: Made = self.cache[name]
        return made

    def start(
        self,
        running: ExitStack,
        command: Sequence[str],
        is_ready: Callable[[], bool],
        *,
        environment: Mapping[str, str] | None = None,
        cores: str | None = None,
    ) -> Program:
        """Start a server under SCHED_BATCH on the server's core; it ends with ``running``."""
        folder = self.folder()
        pinned = ["taskset", "-c", cores or str(self.cores[0]), "chrt", "--batch", "0", *command]
        program = Program(
            pinned, log=folder / "log", is_ready=is_ready, environment=environment, cwd=folder, timeout_s=60
        )
        running.callback(program.kill)
        return program

    def postgresql(self) -> PostgreSQLServer:
        """Answer the one durable PostgreSQL of the run, on the core of the load."""
        return self.once("postgresql", self._start_postgresql)

    def _start_postgresql(self) -> PostgreSQLServer:
        installation.debian("/usr/lib/postgresql/*/bin/initdb", "postgresql")
        with on_core(self.cores[1]):
            return self.open.enter_context(PostgreSQLServer(durable=True))


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Keep this thread, and the programs it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def a_place() -> Iterator[Place]:
    """Open a place on the first two cores allowed; at its end all that it started has ended."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("Two cores are needed: one for the server, one for the load.")
    tempfile.tempdir = ON_DISK  # where PostgreSQL puts its data
    place = Place((cores[0], cores[1]))
    with place.open:
        yield place


def configuration(**values: Any) -> dict[str, str]:
    """Answer the environment of a peer with its configuration."""
    return {**os.environ, "NODE_ENV": "production", "CONFIGURATION": json.dumps(values)}


__all__ = ["Place", "a_place", "configuration", "free_port", "on_core"]
