"""Programs in Node that use a client which we did not write; each asks for a person where it needs one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.interop.person import Person
from tests.support.program import Missing, find_program

NODE = Path(__file__).parent / "node"
_WAYS: Mapping[str, Callable[[Person, str], Any]] = {
    "visit": lambda person, url: vars(person.reach(url)),
    "connect": lambda person, url: person.connect(url),
}


def run(program: str, told: Mapping[str, Any], person: Person | None = None) -> Any:
    """Run the program, be the person that it asks for, and answer what it saw: the JSON of its last line."""
    if not (NODE / "node_modules" / "openid-client").is_dir():
        raise Missing("the Node packages are not installed: run `make test`")
    with subprocess.Popen(
        [find_program(["node"], package="nodejs"), str(NODE / program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "CLIENT": json.dumps(told)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            what, _, url = line.strip().partition(" ")
            if person is not None and what in _WAYS:
                process.stdin.write(json.dumps(_WAYS[what](person, url)) + "\n")
                process.stdin.flush()
    if process.returncode:
        raise AssertionError("".join(lines))
    return json.loads(lines[-1])
