"""The server under test: ``python -m valetkey serve`` as a child process, and the other commands of ``valetkey``."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.support.program import Program, free_port

METADATA_PATH = "/.well-known/oauth-authorization-server"
LIMITED_API_FILE = Path(__file__).with_name("limited_api.py")  # a host app with rate limits, to deploy; not to import
SCOPES = {"profile": "See your name and picture", "email": "See your e-mail address"}


@dataclass(frozen=True)
class Deployment:
    """Data directory, settings and host app that all servers of one service share.

    :param app: the Python file or module of the host app; by default ``valetkey serve`` runs without one.
    :param settings: settings by their names in ``Settings`` (``{"refresh_retry_window": 0}``). They become environment
        variables: strings as they are, lists separated by commas, everything else as JSON.
    :param port: the port of the first server.
    """

    data_dir: Path
    app: str | Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    @property
    def issuer(self) -> str:
        """The issuer of all servers: the setting, or the URL of the server on the deployment's port."""
        return str(self.settings.get("issuer", f"http://127.0.0.1:{self.port}"))

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of every process of this deployment."""
        settings = {"issuer": self.issuer, "data_dir": str(self.data_dir), **self.settings}
        if self.app is None:
            settings.setdefault("scopes", SCOPES)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("VALETKEY_")}
        return inherited | {
            f"VALETKEY_{name.upper()}": _to_environment_value(value) for name, value in settings.items()
        }

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of ``valetkey`` with these arguments for this deployment."""
        app = ["--app", _resolve_app(self.app)] if self.app else []
        return [sys.executable, "-m", "valetkey", *app, *arguments]

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run a ``valetkey`` command and return its standard output.

        :raises AssertionError: if its exit code is not 0.
        """
        completed = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.data_dir,
            timeout=60,
            check=False,
        )
        if completed.returncode:
            failure = f"valetkey {' '.join(arguments)}: exit code {completed.returncode}"
            raise AssertionError(f"{failure}\n{completed.stdout}{completed.stderr}")
        return completed.stdout

    def create_client(
        self,
        policy: str,
        *,
        name: str = "An app",
        scope: str = "profile",
        redirect_uris: Sequence[str] = (),
        jwks: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Register a client. Return its ``client_id`` and ``client_secret`` (``None`` if it has no secret).

        :param jwks: the public keys of a client that authenticates with ``private_key_jwt``.
        """
        arguments = ["--name", name, "--policy", policy, *(["--scope", scope] if scope else [])]
        arguments += [word for uri in redirect_uris for word in ("--redirect-uri", uri)]
        if jwks is not None:
            file = self.data_dir / "client-jwks.json"
            file.write_text(json.dumps(jwks))
            arguments += ["--auth-method", "private_key_jwt", "--jwks", str(file)]
        return dict(json.loads(self.run("clients", "create", *arguments, "--json")))

    def create_user(self, email: str, password: str, *, name: str = "Maya") -> dict[str, Any]:
        """Create an account with this e-mail address and password. Return its members as printed by the command."""
        arguments = ["--email", email, "--name", name, "--password-stdin", "--json"]
        return dict(json.loads(self.run("users", "create", *arguments, stdin=password)))


class RunningServer:
    """A server of a deployment. Several can run at the same time, with one database and one issuer.

    :param workers: the number of worker processes.
    :param port: by default the deployment's port.
    :param options: more options of ``valetkey serve``.
    :raises StartFailed: if the server does not start.
    """

    _log_numbers = itertools.count(1)

    def __init__(
        self,
        deployment: Deployment,
        *,
        workers: int = 1,
        port: int | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.deployment = deployment
        self.issuer = deployment.issuer
        self.port = port or deployment.port
        self.url = f"http://127.0.0.1:{self.port}"
        arguments = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", str(workers)]
        self._program = Program(
            self.deployment.command("serve", *arguments, *options),
            log=deployment.data_dir / f"server-{next(self._log_numbers)}.log",
            is_ready=self._is_ready,
            environment=self.deployment.environment,
            cwd=deployment.data_dir,
        )

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The id of the server's main process."""
        return self._program.pid

    @property
    def log(self) -> str:
        """The output of the server and its workers so far."""
        return self._program.log

    @property
    def metadata(self) -> dict[str, Any]:
        """The authorization server metadata (RFC 8414) from this server."""
        return dict(httpx.get(f"{self.url}{METADATA_PATH}").raise_for_status().json())

    def start_another(self, *, workers: int = 1) -> RunningServer:
        """Start another server of the same deployment on another port."""
        return RunningServer(self.deployment, workers=workers, port=free_port())

    def is_running(self) -> bool:
        """Return whether the server has not ended yet."""
        return self._program.is_running()

    def stop(self) -> int:
        """Stop the server as an operator does and return its exit code."""
        return self._program.stop()

    def kill(self) -> None:
        """End the server and its workers at once, as ``kill -9`` does."""
        self._program.kill()

    def _is_ready(self) -> bool:
        try:
            return not httpx.get(f"{self.url}{METADATA_PATH}", timeout=5).is_server_error
        except httpx.TransportError:
            return False


def _to_environment_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def _resolve_app(app: str | Path) -> str:
    return str(Path(app).resolve()) if str(app).endswith(".py") else str(app)
