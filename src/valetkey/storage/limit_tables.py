"""Tables of rate limits, plans, quotas and the usage of the API; see ``tables.py``."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Integer, Table, Text

from .metadata import metadata

limits = Table(  # used on PostgreSQL; with SQLite, a separate file has the same table
    "valetkey_limits",
    metadata,
    Column("key", Text, primary_key=True),
    Column("tat", Double, nullable=False, index=True),
)

route_limits = Table(  # used on PostgreSQL, where it is an unlogged table: a crash of the database empties it
    "valetkey_route_limits",
    metadata,
    Column("key", Text, primary_key=True),
    Column("tat", Double, nullable=False),
)

subscriptions = Table(  # plans of clients; a client without a row has the default plan
    "valetkey_subscriptions",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("plan", Text, nullable=False),
    Column("wanted", Text),  # the requested plan, while the operator's approval is pending
    Column("since", Double, nullable=False),
)

quotas = Table(  # calls charged to a quota in a period
    "valetkey_quotas",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("quota", Text, primary_key=True),
    Column("begins_at", Double, primary_key=True),
    Column("taken", BigInteger, nullable=False),
    Column("ends_at", Double, nullable=False, index=True),
)

usage = Table(  # calls by hour, written in the background
    "valetkey_usage",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # whole hours since 1970
    Column("client_id", Text, primary_key=True),
    Column("route", Text, primary_key=True),  # method and URL rule, such as GET /api/places/<id>
    Column("status", Integer, primary_key=True, autoincrement=False),
    Column("calls", BigInteger, nullable=False),
)
