"""One measured load: wrk sends, a script in ``lua/`` judges every answer."""

from __future__ import annotations

import json
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "lua"
CONNECTIONS = 32


class WrongAnswers(AssertionError):
    """A server answered otherwise than it should; the message has the first such answer."""


@dataclass(frozen=True)
class Measured:
    """What one load found. ``busy`` is the share of its core that wrk itself used."""

    per_second: float
    p50_ms: float
    p99_ms: float
    busy: float


@dataclass(frozen=True)
class Load:
    """Requests for one server: the script that sends them, and its data."""

    url: str
    script: str
    data: dict[str, Any]
    threads: int = 1

    def run(self, seconds: float, cores: str) -> Measured:
        """Send for so long and answer what came.

        :raises WrongAnswers: where one answer is wrong, or none came.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as data:
            data.write(f"return {_lua(self.data)}\n")
            data.flush()
            shape = [
                f"-t{self.threads}",
                f"-c{CONNECTIONS}",
                f"-d{max(1, round(seconds))}s",
                "--timeout",
                "10s",
            ]
            used = _seconds_of_children()
            done = subprocess.run(
                [
                    "taskset",
                    "-c",
                    cores,
                    "wrk",
                    *shape,
                    "-s",
                    f"{self.script}.lua",
                    self.url,
                    "--",
                    data.name,
                ],
                cwd=SCRIPTS,
                capture_output=True,
                text=True,
                timeout=seconds + 60,
                check=False,
            )
            used = _seconds_of_children() - used
        found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if not found:
            raise WrongAnswers(f"wrk gave no result for {self.url}\n{done.stdout}{done.stderr}")
        result = json.loads(found[0].removeprefix("RESULT "))
        if result["wrong"] or result["broken"] or not result["finished"]:
            raise WrongAnswers(f"{self.url} ({self.script}): {json.dumps(result, indent=1)}")
        took = result["seconds"]
        return Measured(result["finished"] / took, result["p50_ms"], result["p99_ms"], used / took)


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _lua(value: Any) -> str:
    """Answer a value in Lua's words; texts are ASCII."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_lua(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ",\n".join(map(_lua, value)) + "}"
    return json.dumps(value)
