"""Temporary checkouts for ``make`` and the README's commands: the project's files, with this virtual environment."""

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
REMOVED_PREFIXES = ("VALETKEY_", "OIDC_", "ATLAS_", "PYTEST_")


@dataclass(frozen=True)
class Checkout:
    """A copy of the project's files in which commands run. Nothing is installed, and the real files do not change."""

    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        for name in COPIED_PATHS:
            copy = shutil.copytree if (PROJECT_DIR / name).is_dir() else shutil.copy2
            copy(PROJECT_DIR / name, self.folder / name)
        (self.folder / ".venv").mkdir()
        (self.folder / ".venv" / "bin").symlink_to(Path(sys.prefix) / "bin")
        (self.folder / ".venv" / ".run-installed").touch()

    def start(self, command: list[str]) -> Program:
        """Start ``make serve``, or another command that serves the quickstart on ``port``; wait until it is ready."""
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        environment = clean_environment() | {"PORT": str(self.port)}
        return Program(command, log=log, is_ready=self._is_ready, environment=environment, cwd=self.folder)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/api/public", timeout=5).is_success
        except httpx.TransportError:
            return False


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of Valetkey, its examples, and ``make test``."""
    inherited = {name: value for name, value in os.environ.items() if name not in REMOVED_VARIABLES}
    return {name: value for name, value in inherited.items() if not name.startswith(REMOVED_PREFIXES)}


def activated_environment() -> dict[str, str]:
    """Return the clean environment of a shell in which this virtual environment is activated."""
    environment = clean_environment()
    return environment | {"PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{environment['PATH']}"}


def search_log(log: str, pattern: str) -> tuple[str, ...]:
    """Return the groups of a pattern's first match in a log.

    :raises AssertionError: if there is no match.
    """
    match = re.search(pattern, log)
    assert match, log
    return match.groups()
