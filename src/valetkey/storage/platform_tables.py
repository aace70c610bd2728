"""Tables of what makes an API public: plans, quotas, usage, personal access tokens, idempotency keys."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, Table, Text

from .tables import metadata

subscriptions = Table(  # of apps to plans; an app without a row has the default plan
    "valetkey_subscriptions",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("plan", Text, nullable=False),
    Column("wanted", Text),  # a plan that waits for the operator's approval
    Column("since", Double, nullable=False),
)

quotas = Table(  # how much of a quota is taken in the period that runs
    "valetkey_quotas",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("quota", Text, primary_key=True),
    Column("begins_at", Double, primary_key=True),
    Column("taken", BigInteger, nullable=False),
    Column("ends_at", Double, nullable=False, index=True),
)

usage = Table(  # calls, counted in the background
    "valetkey_usage",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),  # whole hours since 1970
    Column("client_id", Text, primary_key=True),
    Column("route", Text, primary_key=True),  # method and template, as GET /api/places/<id>
    Column("status", Integer, primary_key=True, autoincrement=False),
    Column("calls", BigInteger, nullable=False),
)

personal_access_tokens = Table(
    "valetkey_personal_access_tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("owner", Text, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),  # by which its owner knows it again: vk_pat_ and four letters
    Column("scope", Text, nullable=False),
    Column("resources", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("grant_id", Text),  # of the app that made it, with whose grant it ends
    Column("last_used_at", Double),
    Column("revoked_at", Double),
    Column("reminded", Integer),  # days before the end of which its owner was last reminded
)

idempotency_keys = Table(
    "valetkey_idempotency_keys",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # of who asks, where, and the key
    Column("request", LargeBinary, nullable=False),  # digest of what was asked
    Column("begun_at", Double, nullable=False),
    Column("status", Integer),  # none yet: the first request is still at work
    Column("answer", LargeBinary),  # encrypted; none where it was too large to keep
    Column("expires_at", Double, nullable=False, index=True),
)

mail_links = Table(  # links that were mailed to prove who reads an address
    "valetkey_mail_links",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("purpose", Text, nullable=False),  # sign_up, reset or verify
    Column("email", Text, nullable=False, index=True),
    Column("sub", Text),  # none yet at sign-up
    Column("name", Text, nullable=False),
    Column("next", Text, nullable=False),  # the local path to go on to
    Column("expires_at", Double, nullable=False, index=True),
    Column("used_at", Double),
)
