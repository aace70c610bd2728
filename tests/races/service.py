"""The servers, the app and the user of the race tests."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.user import User
from tests.support.valetkey_server import Deployment
from tests.support.web_app import WebApp


@dataclass(frozen=True)
class Service:
    """Servers that share a database.

    :ivar ports: of two servers with the default settings.
    :ivar strict_ports: of two servers with ``refresh_retry_window=0``.
    :ivar web_app: a registered client.
    :ivar maya: a user with an account.
    """

    deployment: Deployment
    ports: tuple[int, int]
    strict_ports: tuple[int, int]
    web_app: WebApp
    maya: User

    @property
    def database_url(self) -> str:
        return str(self.deployment.settings["database_url"])
