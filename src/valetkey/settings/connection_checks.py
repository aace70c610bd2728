"""Checks of the settings that name other servers and networks: database, Redis, mail, proxies; as in ``checks.py``."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from valetkey.protocol.email_address import is_email_address, parse_sender

if TYPE_CHECKING:
    from . import Settings


def check_urls(settings: Settings) -> list[str]:
    problems = []
    if not settings.store_url.startswith(("sqlite:///", "postgresql://", "postgresql+psycopg://")):
        problems.append("database_url must begin with sqlite:/// or postgresql://")
    if settings.store_url.partition("?")[0] in {"sqlite:///", "sqlite:///:memory:"}:
        problems.append(
            "database_url must name a file, such as sqlite:////srv/shop/valetkey.db: a database in memory has only one "
            "connection. Without database_url, it is a file in data_dir; for tests, see valetkey.testing"
        )
    if settings.redis_url and not settings.redis_url.startswith(("redis://", "rediss://", "unix://")):
        problems.append("redis_url must begin with redis://, rediss:// or unix://")
    contact = settings.security_contact or "tel:"
    if not contact.startswith(("mailto:", "https://", "tel:")) or len(contact.split()) != 1:
        problems.append("security_contact must be a URI that begins with mailto:, https:// or tel: (RFC 9116 §2.5.3)")
    return problems


def check_mail(settings: Settings) -> list[str]:
    problems = []
    if settings.mail_url and not _is_mail_url(settings.mail_url):
        problems.append(
            "mail_url must be smtp://user:password@host:port or smtps://user:password@host:port, with user and "
            "password percent-encoded"
        )
    if settings.operator_mail and not is_email_address(settings.operator_mail):
        problems.append("operator_mail must be one e-mail address, like ops@example.org")
    if settings.mail_from and parse_sender(settings.mail_from) is None:
        problems.append("mail_from must be one e-mail address, like mail@example.org or Shop <mail@example.org>")
    return problems


def _is_mail_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"smtp", "smtps"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def check_networks(settings: Settings) -> list[str]:
    problems = []
    for name in ("trusted_proxies", "outbound_allowed_networks"):
        for network in getattr(settings, name):
            if name == "trusted_proxies" and network == "unix":
                continue
            try:
                ip_network(network)
            except ValueError:
                problems.append(f"{name}: {network!r} is not a network like 10.0.0.0/8")
    if settings.outbound_ca_file and not Path(settings.outbound_ca_file).is_file():
        problems.append(f"outbound_ca_file: there is no file {settings.outbound_ca_file!r}")
    return problems
