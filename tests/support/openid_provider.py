"""An OpenID Provider that we did not write, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin

import httpx

from tests.support.form import parse_forms
from tests.support.program import NotInstalled, Program, accepts_connections, find_program, free_port

NODE_DIR = Path(__file__).parents[1] / "interop" / "node"


class OpenIDProvider:
    """npm's ``oidc-provider`` with one client and forms that any login and password get through.

    Who signs in as ``maya`` is ``sub`` "maya", e-mail "maya@example.com", in the ID token and at userinfo.
    """

    client_id = "quickstart"
    client_secret = "quickstart-secret-of-the-tests"

    def __init__(self, redirect_uris: Sequence[str], *, port: int | None = None) -> None:
        self.port = port or free_port()
        self._redirect_uris = list(redirect_uris)
        self._program: Program | None = None

    def __enter__(self) -> OpenIDProvider:
        self._directory = Path(tempfile.mkdtemp(prefix="valetkey-openid-"))
        try:
            self._program = self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def issuer(self) -> str:
        """The provider's issuer, as its metadata says it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All that the provider has printed so far."""
        return self._program.log if self._program else ""

    def sign_in(self, browser: httpx.Client, url: str, *, login: str = "maya") -> httpx.Response:
        """Visit an app's login, sign in at the provider, consent and answer the page after that."""
        page = browser.get(url, follow_redirects=True)
        while page.is_success and str(page.url).startswith(f"{self.issuer}/"):
            form = parse_forms(page.text)[0]
            written = {"login": login, "password": "any"} if form.has_field("password") else {}
            target = urljoin(str(page.url), form.action)
            page = browser.post(target, data=dict(form.fill_in(written)), follow_redirects=True)
        return page

    def close(self) -> None:
        """Stop the provider; it has kept nothing."""
        if self._program is not None:
            self._program.kill()
            self._program = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def _start(self) -> Program:
        node = find_program(["node"], package="nodejs")
        if not (NODE_DIR / "node_modules" / "oidc-provider").is_dir():
            raise NotInstalled("oidc-provider is not installed: run `make test`")
        configuration = {
            "port": self.port,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "redirect_uris": self._redirect_uris,
        }
        return Program(
            [node, str(NODE_DIR / "openid_provider.mjs")],
            log=self._directory / "provider.log",
            is_ready=lambda: accepts_connections(self.port),
            environment={**os.environ, "CONFIGURATION": json.dumps(configuration)},
            cwd=self._directory,
        )
