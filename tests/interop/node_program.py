"""Programs in Node that use a client which we did not write; each asks for a person where it needs one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.program import NotInstalled, find_program
from tests.support.user import User

NODE_DIR = Path(__file__).parent / "node"
_USER_ACTIONS: Mapping[str, Callable[[User, str], Any]] = {
    "visit": lambda person, url: vars(person.allow_in_any_response_mode(url)),
    "connect": lambda person, url: person.approve_device(url),
}


def run_node_program(program: str, configuration: Mapping[str, Any], user: User | None = None) -> Any:
    """Run the program, be the person that it asks for, and answer what it saw: the JSON of its last line."""
    if not (NODE_DIR / "node_modules" / "openid-client").is_dir():
        raise NotInstalled("the Node packages are not installed: run `make test`")
    with subprocess.Popen(
        [find_program(["node"], package="nodejs"), str(NODE_DIR / program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "CLIENT": json.dumps(configuration)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            what, _, url = line.strip().partition(" ")
            if user is not None and what in _USER_ACTIONS:
                process.stdin.write(json.dumps(_USER_ACTIONS[what](user, url)) + "\n")
                process.stdin.flush()
    if process.returncode:
        raise AssertionError("".join(lines))
    return json.loads(lines[-1])
