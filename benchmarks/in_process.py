"""Compare the CPU time per request of two checkouts, in process: ``python -m benchmarks.in_process OLD NEW``.

Each checkout runs in a process of its own: an app with Valetkey on SQLite, called as WSGI app without a server. The two
take turns, 25 times for each row, and the minimum counts, because other programs can only add to it. A ratio over 1
means that the second checkout needs less CPU time.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

ROWS = (
    *("public", "P1 protected", "P1b people", "P1e refused"),
    *("P2 token", "P4 introspection", "P5 refresh", "P6 code flow"),
)
_REQUESTS_PER_TURN, _PEOPLE = 200, 1000


class Worker:
    """A process that runs the rows with the code of one checkout."""

    def __init__(self, checkout: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{checkout / 'src'}:{checkout}"}
        own = checkout / "benchmarks" / Path(__file__).name  # functions have other parameters in another version
        command = [sys.executable, str(own if own.exists() else __file__), "--worker"]
        self._process = subprocess.Popen(
            command, cwd=checkout, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self, row: str) -> float:
        """Return the CPU time per request of one turn, in microseconds."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout
        stdin.write(row + "\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            sys.exit(f"{row}: the process ended")
        return float(answer)

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)


def main() -> None:
    """Measure all rows with two checkouts in turn and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.in_process", description=__doc__)
    parser.add_argument("checkouts", type=Path, nargs=2, help="the folders of two checkouts: old and new")
    parser.add_argument("--repetitions", type=int, default=25, help="turns of each checkout (default: 25)")
    parser.add_argument("--rows", type=lambda text: text.split(","), default=ROWS, help=f"of {', '.join(ROWS)}")
    options = parser.parse_args()
    workers = [Worker(checkout.resolve()) for checkout in options.checkouts]
    print(f"{'row':18} {'old us':>8} {'new us':>8} old/new")
    for row in options.rows:
        turns = [[worker.measure(row) for worker in workers] for _ in range(options.repetitions + 1)][1:]
        old, new = (min(times) for times in zip(*turns, strict=True))
        print(f"{row:18} {old:8.1f} {new:8.1f} {old / new:7.3f}", flush=True)
    for worker in workers:
        worker.stop()


class _App:
    """An app with Valetkey, and one function for each row that sends a request to it."""

    def __init__(self, folder: str) -> None:
        from flask import Flask, jsonify

        from tests.support.browser_client import CALLBACK, SCOPES, Browser
        from valetkey import Valetkey, public, require_oauth
        from valetkey.authorization_server.clients.service import register_client
        from valetkey.testing import mint_token

        def welcome() -> Any:
            return jsonify(message="Welcome")

        self._app = Flask("in_process")
        key = base64.b64encode(os.urandom(32)).decode()
        settings: dict[str, Any] = {"data_dir": folder, "encryption_keys": (key,), "embedded_worker": False}
        settings["silent_authorization_limit"] = "6000000/minute"  # one user authorizes the app all the time
        Valetkey(self._app, issuer="http://127.0.0.1:8000", scopes=SCOPES, **settings)
        self._app.add_url_rule("/api/public", "public", public(welcome))
        protected = require_oauth("profile", limit="6000000/minute")(welcome)
        self._app.add_url_rule("/api/protected", "protected", protected)
        self._app.add_url_rule("/api/people", "people", require_oauth(limit="1200/minute burst 120")(welcome))
        self._app.add_url_rule("/api/refused", "refused", require_oauth(limit="1/day")(welcome))
        runtime = self._app.extensions["valetkey"]
        runtime.get_ready()
        machine = Browser(
            self._app.test_client(), register_client(runtime, runtime.clock(), name="Machine", policy="machine")
        )
        client = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
        self._browser = Browser(self._app.test_client(), client)
        self._browser.sign_up()
        tokens = self._browser.obtain_tokens()
        self._token, self._refresh_token = tokens["access_token"], tokens["refresh_token"]
        people = [mint_token(self._app, client_id=f"person-{number}") for number in range(_PEOPLE)]
        self._people = itertools.cycle(people)
        for _ in people:
            self._call_of_people("/api/refused")
        self._machine_auth, self._shop_auth = _basic(machine.auth), _basic(self._browser.auth)
        self.rows: dict[str, Callable[[], None]] = dict(
            zip(
                ROWS,
                (
                    *(self.public, self.protected, self.call_of_people, self.refused_call_of_people),
                    *(self.token, self.introspect, self.refresh, self.flow),
                ),
                strict=True,
            )
        )

    def public(self) -> None:
        self._send("GET", "/api/public")

    def protected(self) -> None:
        self._send("GET", "/api/protected", authorization=f"Bearer {self._token}")

    def call_of_people(self) -> None:
        self._call_of_people("/api/people")

    def refused_call_of_people(self) -> None:
        self._call_of_people("/api/refused", "429")

    def token(self) -> None:
        self._post("/oauth/token", self._machine_auth, grant_type="client_credentials", scope="profile")

    def introspect(self) -> None:
        self._post("/oauth/introspect", self._shop_auth, token=self._token)

    def refresh(self) -> None:
        body = {"grant_type": "refresh_token", "refresh_token": self._refresh_token}
        self._refresh_token = json.loads(self._post("/oauth/token", self._shop_auth, **body))["refresh_token"]

    def flow(self) -> None:
        self._browser.obtain_tokens()

    def _call_of_people(self, path: str, status: str = "200") -> None:
        self._send("GET", path, authorization=f"Bearer {next(self._people)}", status=status)

    def _post(self, path: str, authorization: str, **form: str) -> bytes:
        return self._send("POST", path, urlencode(form).encode(), authorization)

    def _send(self, method: str, path: str, body: bytes = b"", authorization: str = "", status: str = "200") -> bytes:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "HTTP_HOST": "127.0.0.1:8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        if body:
            environ |= {"CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(body))}
        if authorization:
            environ["HTTP_AUTHORIZATION"] = authorization
        statuses: list[str] = []

        def start_response(status: str, _headers: Any, _exc_info: Any = None) -> Callable[[bytes], object]:
            statuses.append(status)
            return lambda _: None

        response = self._app(environ, start_response)
        content = b"".join(response)
        if hasattr(response, "close"):
            response.close()
        if not statuses[0].startswith(status):
            raise AssertionError(f"{path}: {statuses[0]} {content!r}")
        return content


def _basic(auth: tuple[str, str] | None) -> str:
    assert auth
    return "Basic " + base64.b64encode(":".join(auth).encode()).decode()


@contextmanager
def _open_app() -> Iterator[_App]:
    with tempfile.TemporaryDirectory() as folder:
        yield _App(folder)


def run_worker(commands: IO[str]) -> None:
    """Run the row that each line names, and print the CPU time per request in microseconds."""
    logging.basicConfig(filename=os.devnull, level=logging.INFO)  # refusals are logged, as under ``valetkey serve``
    with _open_app() as app:
        for line in commands:
            send = app.rows[line.strip()]
            began = time.thread_time()
            for _ in range(_REQUESTS_PER_TURN):
                send()
            print((time.thread_time() - began) / _REQUESTS_PER_TURN * 1e6, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        run_worker(sys.stdin)
    else:
        main()
