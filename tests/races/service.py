"""The servers, the app and the user of the race tests."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.user import User
from tests.support.valetkey_server import Deployment
from tests.support.web_app import WebApp


@dataclass(frozen=True)
class Service:
    """Servers that share a database, which is also open to the test."""

    deployment: Deployment
    ports: tuple[int, int]
    strict_ports: tuple[int, int]  # the same, with ``refresh_retry_window=0``
    web_app: WebApp
    maya: User

    @property
    def database_url(self) -> str:
        return str(self.deployment.settings["database_url"])
