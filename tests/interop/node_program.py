"""Node programs that use a third-party client; a program prints an action when it needs its user to act."""

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
    "visit": lambda user, url: vars(user.allow_in_any_response_mode(url)),
    "connect": lambda user, url: user.approve_device(url),
}


def run_node_program(program: str, configuration: Mapping[str, Any], user: User | None = None) -> Any:
    """Run a Node program and let the user perform its actions; return the JSON of its last line.

    An action is a line like ``visit https://...``; the result is written to the program's standard input.

    :raises NotInstalled: if the Node packages are missing
    :raises AssertionError: with the program's output, if it fails
    """
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
            action, _, url = line.strip().partition(" ")
            if user is not None and action in _USER_ACTIONS:
                process.stdin.write(json.dumps(_USER_ACTIONS[action](user, url)) + "\n")
                process.stdin.flush()
    if process.returncode:
        raise AssertionError("".join(lines))
    return json.loads(lines[-1])
