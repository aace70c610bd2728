"""The URL of a PostgreSQL database, and the parameters of a connection (those of libpq) that it stands for."""

from __future__ import annotations

from typing import Any

from .postgresql_problem import describe_url_problem
from .transaction import StoreUnavailable

_DEFAULTS = {  # a firewall between this machine and the server forgets idle connections, some within minutes
    "keepalives_idle": "60",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}


def connection_parameters(url: str) -> dict[str, Any]:
    """Return libpq's parameters for connections to the database at a URL. psycopg must be installed.

    If the URL names several hosts, connections are made to the one that can be written, unless the URL has another
    ``target_session_attrs``: the others are standbys, whose data may be old.

    :raises StoreUnavailable: if libpq cannot parse the URL.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        parameters = conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://", 1))
    except ProgrammingError as cause:
        raise StoreUnavailable(describe_url_problem(cause)) from None  # the cause may contain a part of the password
    if has_several_hosts(parameters):
        parameters.setdefault("target_session_attrs", "read-write")
    # Whatever the URL, the environment or the database says: libpq then reads and writes texts as Python does.
    return _DEFAULTS | parameters | {"client_encoding": "utf8"}


def has_several_hosts(parameters: dict[str, Any]) -> bool:
    """Return whether libpq's parameters name several hosts."""
    hosts: str = parameters.get("host") or parameters.get("hostaddr") or ""
    return len(hosts.split(",")) > 1
