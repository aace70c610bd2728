"""All tables. Times are seconds since 1970 as floats; digests are SHA-256; lists and objects are JSON text."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, Table, Text

metadata = MetaData()
SCHEMA_VERSION_TABLE = "valetkey_schema"

clients = Table(
    "valetkey_clients",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("policy", Text, nullable=False),
    Column("metadata", Text, nullable=False),  # members by their names in RFC 7591 §2
    Column("created_at", Double, nullable=False),
    Column("disabled_at", Double),
)

client_secrets = Table(
    "valetkey_client_secrets",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("client_id", Text, nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
)

initial_access_tokens = Table(  # of RFC 7591 §1.2
    "valetkey_initial_access_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("policy", Text, nullable=False),
    Column("uses_left", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)

registrations = Table(  # of clients that registered themselves and may manage that (RFC 7592)
    "valetkey_registrations",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # of the registration access token
    Column("policy", Text),  # named by an initial access token; None: by the client's metadata
    Column("waits", Integer, nullable=False),  # 1: for the operator's approval
)

assertions = Table(  # client assertions that were used, until they expire (RFC 7523 §3)
    "valetkey_assertions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # of client_id and jti
    Column("expires_at", Double, nullable=False, index=True),
)

resources = Table(
    "valetkey_resources",
    metadata,
    Column("resource", Text, primary_key=True),
    Column("metadata", Text, nullable=False),  # members by their names in RFC 9728 §2, and token_format
    Column("created_at", Double, nullable=False),
)

accounts = Table(
    "valetkey_accounts",
    metadata,
    Column("sub", Text, primary_key=True),
    Column("email", Text, nullable=False, unique=True),  # lower case
    Column("name", Text, nullable=False),
    Column("password_hash", Text),  # argon2id
    Column("claims", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("disabled_at", Double),
    Column("email_verified_at", Double),  # when its reader proved it by a link in a mail
)

sessions = Table(
    "valetkey_sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("sub", Text, nullable=False, index=True),
    Column("browser", LargeBinary, nullable=False, index=True),  # digest of the browser's cookie
    Column("sid", Text, nullable=False, index=True),  # names the sign-in to clients, and opens nothing
    Column("auth_time", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("address", Text),
)

interactions = Table(
    "valetkey_interactions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("browser", LargeBinary, nullable=False, index=True),
    Column("client_id", Text, nullable=False),
    Column("request", Text, nullable=False),  # the checked authorization request
    Column("expires_at", Double, nullable=False, index=True),
    Column("decided_at", Double),
)

consents = Table(
    "valetkey_consents",
    metadata,
    Column("owner", Text, primary_key=True),  # sub of the resource owner
    Column("client_id", Text, primary_key=True),
    Column("scope", Text, nullable=False),
    Column("first_granted_at", Double, nullable=False),
    Column("granted_at", Double, nullable=False),
    Column("address", Text),
)

grants = Table(
    "valetkey_grants",
    metadata,
    Column("grant_id", Text, primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("resources", Text, nullable=False),
    Column("auth_time", Double),
    Column("acr", Text),
    Column("amr", Text),
    Column("sid", Text, index=True),  # of the sign-in, as OpenID Connect logout names it
    Column("claims", Text),  # asked for one by one (OpenID Connect Core §5.5)
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double),
    Column("expires_at", Double, nullable=False, index=True),
    Column("revoked_at", Double),
    Index("valetkey_grants_of_owner", "owner", "client_id"),
)

codes = Table(
    "valetkey_codes",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("grant_id", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("redirect_uri_sent", Integer, nullable=False),
    Column("code_challenge", Text),
    Column("nonce", Text),
    Column("expires_at", Double, nullable=False, index=True),
    Column("consumed_at", Double),
)

device_codes = Table(
    "valetkey_device_codes",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("user_code", Text, nullable=False, unique=True),  # opens nothing without a sign-in
    Column("client_id", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("resources", Text, nullable=False),
    Column("interval", Double, nullable=False),  # seconds between two polls
    Column("polled_at", Double),
    Column("expires_at", Double, nullable=False, index=True),
    Column("decided_at", Double),
    Column("grant_id", Text),  # none although decided: the owner said no
    Column("consumed_at", Double),
)

refresh_tokens = Table(
    "valetkey_refresh_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("grant_id", Text, nullable=False, index=True),
    Column("parent", LargeBinary),
    Column("issued_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("used_at", Double),
    Column("successor", LargeBinary),
)

retry_answers = Table(  # what a used refresh token gave, for a client that lost the answer
    "valetkey_retry_answers",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # of the used token
    Column("request", LargeBinary, nullable=False),  # digest of the request that used it
    Column("answer", LargeBinary, nullable=False),  # encrypted under a key that only the used token gives
    Column("expires_at", Double, nullable=False, index=True),
)

access_tokens = Table(  # opaque ones only
    "valetkey_access_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("claims", Text, nullable=False),  # the same members as in a JWT access token
    Column("expires_at", Double, nullable=False, index=True),
)

revocations = Table(
    "valetkey_revocations",
    metadata,
    Column("revocation_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("at", Double, nullable=False, index=True),
    Column("expires_at", Double, nullable=False, index=True),
)

signing_keys = Table(
    "valetkey_signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("algorithm", Text, nullable=False),
    Column("public", Text, nullable=False),
    Column("private", LargeBinary, nullable=False),  # encrypted
    Column("active_at", Double, nullable=False),
    Column("retired_at", Double),
)

audit = Table(
    "valetkey_audit",
    metadata,
    Column("audit_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False, index=True),
    Column("event", Text, nullable=False),
    Column("client_id", Text),
    Column("owner", Text),
    Column("grant_id", Text),
    Column("address", Text),
    Column("detail", Text),
)

outbox = Table(
    "valetkey_outbox",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("due_at", Double, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("taken_until", Double),
    Column("failed_at", Double),
    Column("problem", Text),
)

leases = Table(
    "valetkey_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Double, nullable=False),
)

limits = Table(  # on PostgreSQL; SQLite keeps the same in a file of its own
    "valetkey_limits",
    metadata,
    Column("key", Text, primary_key=True),
    Column("tat", Double, nullable=False, index=True),
)


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
