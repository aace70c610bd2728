"""Print how many files, packages and calls of Valetkey a request enters: ``python -m benchmarks.calls_per_request``.

Each request is sent five times to an app with Valetkey on SQLite, in this process; the last one is counted, because the
first ones fill caches. A package is a folder of ``valetkey``. Only functions of Valetkey are counted.
"""

from __future__ import annotations

import base64
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from flask import Flask, jsonify
from werkzeug.test import TestResponse

import valetkey
from tests.support.browser_client import CALLBACK, SCOPES, Browser, redirect_parameters
from valetkey import Valetkey, require_oauth
from valetkey.authorization_server.clients.service import register_client

_REPETITIONS = 5  # the first ones fill caches and take a share of the budget
_FOLDER = str(Path(valetkey.__file__).parent) + "/"


class Calls:
    """The calls of Valetkey's functions while ``counting``: the files of these functions, and the number of calls."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.count = 0

    @property
    def packages(self) -> set[str]:
        """The folders of the files."""
        return {file.rpartition("/")[0] for file in self.files}

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count all calls that the statements of a ``with`` block make in this thread."""
        sys.setprofile(self._on_event)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_FOLDER):
            self.files.add(frame.f_code.co_filename.removeprefix(_FOLDER))
            self.count += 1


def _make_app(folder: str) -> Flask:
    app = Flask("calls_per_request")
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    settings: dict[str, Any] = {"data_dir": folder, "encryption_keys": (key,), "embedded_worker": False}
    Valetkey(app, issuer="http://localhost", scopes=SCOPES, **settings)

    @app.get("/api/protected")
    @require_oauth("profile", limit="6000/minute burst 600")
    def protected_api() -> Any:
        return jsonify(message="Welcome")

    return app


def _requests(app: Flask) -> dict[str, tuple[Callable[[], Any], Callable[[Any], TestResponse]]]:
    """Return, for each kind of request, a function that prepares it and one that sends it and returns the response."""
    runtime = app.extensions["valetkey"]
    runtime.get_ready()
    machine = Browser(app.test_client(), register_client(runtime, runtime.clock(), name="Machine", policy="machine"))
    shop = Browser(
        app.test_client(),
        register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK]),
    )
    shop.sign_up()
    token = shop.obtain_tokens()["access_token"]

    def open_consent_page() -> dict[str, Any]:
        page = shop.authorize(prompt="consent").location
        text = shop.get(page).text
        return {"path": page, "csrf_token": text.split('name="csrf_token"')[1].split('value="')[1].split('"')[0]}

    return {
        "client_credentials": (lambda: None, lambda _: machine.request_token("client_credentials", scope="profile")),
        "code redemption": (shop.obtain_code, shop.redeem),
        "refresh": (lambda: shop.obtain_tokens()["refresh_token"], shop.refresh),
        "API call, known token": (lambda: None, lambda _: shop.call(token)),
        "consent click": (
            open_consent_page,
            lambda page: shop.http.post(
                page["path"], data={"csrf_token": page["csrf_token"], "decision": "allow", "scope": ["profile"]}
            ),
        ),
    }


def main() -> None:
    """Count each kind of request and print a table."""
    print(f"{'request':24} files packages calls")
    with tempfile.TemporaryDirectory() as folder:
        app = _make_app(folder)
        for name, (prepare, send) in _requests(app).items():
            for _ in range(_REPETITIONS):
                calls, prepared = Calls(), prepare()
                with calls.counting():
                    response = send(prepared)
                if response.status_code not in {200, 303} or "error" in redirect_parameters(response):
                    sys.exit(f"{name}: {response.status_code} {response.text}")
            print(f"{name:24} {len(calls.files):5} {len(calls.packages):8} {calls.count:5}")
        app.extensions["valetkey"].close()


if __name__ == "__main__":
    main()
