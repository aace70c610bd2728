"""An OpenID Provider that is not Valetkey: npm's ``oidc-provider``, in its own process."""

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
    """npm's ``oidc-provider`` with one client. It accepts any login with any password.

    The login is the user's ``sub``; their e-mail address is the login at ``example.com``. Both are in the ID token and
    at the userinfo endpoint.
    """

    client_id = "quickstart"
    client_secret = "quickstart-secret-of-the-tests"

    def __init__(
        self, redirect_uris: Sequence[str], *, port: int | None = None, backchannel_logout_uri: str | None = None
    ) -> None:
        self.port = port or free_port()
        self._redirect_uris = list(redirect_uris)
        self._backchannel_logout_uri = backchannel_logout_uri
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
        """The provider's issuer identifier, as in its metadata."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """The output of the provider so far."""
        return self._program.log if self._program else ""

    def sign_in(self, browser: httpx.Client, url: str, *, login: str = "maya") -> httpx.Response:
        """Open the login URL of an app, sign in at the provider and consent. Return the app's page after that."""
        page = browser.get(url, follow_redirects=True)
        while page.is_success and str(page.url).startswith(f"{self.issuer}/"):
            form = parse_forms(page.text)[0]
            values = {"login": login, "password": "any"} if form.has_field("password") else {}
            target = urljoin(str(page.url), form.action)
            page = browser.post(target, data=dict(form.fill_in(values)), follow_redirects=True)
        return page

    def restart(self) -> None:
        """Stop the provider if it runs, and start it with a new key. Its sessions are lost."""
        self.stop()
        self._program = self._start()

    def stop(self) -> None:
        """Stop the provider; it can be started again."""
        if self._program is not None:
            self._program.kill()
            self._program = None

    def close(self) -> None:
        """Stop the provider and remove its directory."""
        self.stop()
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
            "backchannel_logout_uri": self._backchannel_logout_uri,
        }
        return Program(
            [node, str(NODE_DIR / "openid_provider.mjs")],
            log=self._directory / "provider.log",
            is_ready=lambda: accepts_connections(self.port),
            environment={**os.environ, "CONFIGURATION": json.dumps(configuration)},
            cwd=self._directory,
        )
