"""A checkout of its own for ``make``: the project's files, and this virtual environment."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.program import Program, free_port

PROJECT_DIR = Path(__file__).parents[2]
COPIED_PATHS = ("Makefile", "pyproject.toml", "requirements", "examples")
REMOVED_VARIABLES = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "VENV", "PORT", "T", "SECRET_KEY")


@dataclass(frozen=True)
class Checkout:
    """A folder in which the README's commands are run; nothing in the real one is touched or installed."""

    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        for name in COPIED_PATHS:
            copy = shutil.copytree if (PROJECT_DIR / name).is_dir() else shutil.copy2
            copy(PROJECT_DIR / name, self.folder / name)
        (self.folder / ".venv").mkdir()
        (self.folder / ".venv" / "bin").symlink_to(Path(sys.prefix) / "bin")
        (self.folder / ".venv" / ".run-installed").touch()

    @property
    def environment(self) -> dict[str, str]:
        """What somebody has set who has set nothing; ``make test`` hands its own variables down."""
        inherited = {name: value for name, value in os.environ.items() if name not in REMOVED_VARIABLES}
        return {name: value for name, value in inherited.items() if not name.startswith(("VALETKEY_", "OIDC_"))}

    def start(self, command: list[str]) -> Program:
        """Run ``make serve``, or what else serves the quickstart on this checkout's port."""
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        environment = self.environment | {"PORT": str(self.port)}
        return Program(command, log=log, is_ready=self._is_ready, environment=environment, cwd=self.folder)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/api/public", timeout=5).is_success
        except httpx.TransportError:
            return False


def search_log(log: str, pattern: str) -> tuple[str, ...]:
    """Answer what the groups of a pattern matched in what a program printed."""
    found = re.search(pattern, log)
    assert found, log
    return found.groups()
