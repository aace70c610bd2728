"""A measured load: wrk sends requests, and a script in ``lua/`` checks every response."""

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


class WrongResponse(AssertionError):
    """A server sent a wrong response or none; the message contains the first wrong response."""


@dataclass(frozen=True)
class Measurement:
    """The result of a load. ``wrk_cpu_share`` is the share of its core that wrk itself used."""

    per_second: float
    p50_ms: float
    p99_ms: float
    wrk_cpu_share: float


@dataclass(frozen=True)
class Load:
    """Requests to one server: the script that sends them, and its data."""

    url: str
    script: str
    data: dict[str, Any]
    threads: int = 1
    connections: int = CONNECTIONS

    def run(self, seconds: float, cores: str) -> Measurement:
        """Send requests for so many seconds.

        :param cores: CPU cores that wrk uses, as ``taskset`` takes them.
        :raises WrongResponse: if a response is wrong, or there is none.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as data:
            data.write(f"return {_to_lua(self.data)}\n")
            data.flush()
            wrk_options = [
                f"-t{self.threads}",
                f"-c{self.connections}",
                f"-d{max(1, round(seconds))}s",
                "--timeout",
                "10s",
            ]
            cpu_before_s = _children_cpu_s()
            process = subprocess.run(
                [
                    "taskset",
                    "-c",
                    cores,
                    "wrk",
                    *wrk_options,
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
            wrk_cpu_s = _children_cpu_s() - cpu_before_s
        result_lines = [line for line in process.stdout.splitlines() if line.startswith("RESULT ")]
        if not result_lines:
            raise WrongResponse(f"wrk printed no result for {self.url}\n{process.stdout}{process.stderr}")
        result = json.loads(result_lines[0].removeprefix("RESULT "))
        if result["wrong"] or result["broken"] or not result["finished"]:
            raise WrongResponse(f"{self.url} ({self.script}): {json.dumps(result, indent=1)}")
        duration_s = result["seconds"]
        return Measurement(result["finished"] / duration_s, result["p50_ms"], result["p99_ms"], wrk_cpu_s / duration_s)


def _children_cpu_s() -> float:
    """Return the CPU seconds that ended child processes used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _to_lua(value: Any) -> str:
    """Return a value as a Lua expression. Strings must be ASCII."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_to_lua(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ",\n".join(map(_to_lua, value)) + "}"
    return json.dumps(value)
