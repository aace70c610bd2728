"""All database tables. Times are seconds since 1970 as floats; digests are SHA-256; lists and objects are JSON text."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, Table, Text

from .account_tables import accounts, mail_links, provider_disconnections, provider_links, provider_requests, sessions
from .limit_tables import limits, quotas, route_limits, subscriptions, usage
from .metadata import metadata

__all__ = [
    "access_tokens",
    "accounts",
    "assertions",
    "audit",
    "client_secrets",
    "clients",
    "codes",
    "consents",
    "device_codes",
    "grants",
    "idempotency_keys",
    "initial_access_tokens",
    "interactions",
    "leases",
    "limits",
    "mail_links",
    "metadata",
    "outbox",
    "personal_access_tokens",
    "provider_disconnections",
    "provider_links",
    "provider_requests",
    "quotas",
    "refresh_tokens",
    "registrations",
    "resources",
    "retry_answers",
    "revocations",
    "route_limits",
    "served_as",
    "sessions",
    "signing_keys",
    "subscriptions",
    "usage",
]

clients = Table(
    "valetkey_clients",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("policy", Text, nullable=False),
    Column("metadata", Text, nullable=False),  # JSON object with the names of RFC 7591 §2
    Column("created_at", Double, nullable=False),
    Column("disabled_at", Double),
)

client_secrets = Table(
    "valetkey_client_secrets",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("client_id", Text, nullable=False, index=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, index=True),
)

initial_access_tokens = Table(  # RFC 7591 §1.2
    "valetkey_initial_access_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("policy", Text, nullable=False),
    Column("uses_left", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
)

registrations = Table(  # clients that registered themselves and may manage their registration (RFC 7592)
    "valetkey_registrations",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # of the registration access token
    Column("policy", Text),  # of the initial access token; null: it follows from the client's metadata
    Column("waits", Integer, nullable=False),  # 1 while the operator's approval is pending, else 0
)

assertions = Table(  # used client assertions (RFC 7523 §3), until they expire
    "valetkey_assertions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # of client_id and jti
    Column("expires_at", Double, nullable=False, index=True),
)

resources = Table(
    "valetkey_resources",
    metadata,
    Column("resource", Text, primary_key=True),
    Column("metadata", Text, nullable=False),  # JSON object with the names of RFC 9728 §2, and token_format
    Column("created_at", Double, nullable=False),
)

interactions = Table(
    "valetkey_interactions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("browser", LargeBinary, nullable=False, index=True),
    Column("client_id", Text, nullable=False),
    Column("request", Text, nullable=False),  # the validated authorization request
    Column("expires_at", Double, nullable=False, index=True),
    Column("decided_at", Double),
)

consents = Table(
    "valetkey_consents",
    metadata,
    Column("owner", Text, primary_key=True),  # sub of the resource owner
    Column("client_id", Text, primary_key=True, index=True),
    Column("scope", Text, nullable=False),
    Column("first_granted_at", Double, nullable=False),
    Column("granted_at", Double, nullable=False),
    Column("address", Text),
    Column("identity", Text),  # JSON object: what the consent page showed of the client; null: not known
)

grants = Table(
    "valetkey_grants",
    metadata,
    Column("grant_id", Text, primary_key=True),
    Column("client_id", Text, nullable=False, index=True),
    Column("owner", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("resources", Text, nullable=False),
    Column("auth_time", Double),
    Column("acr", Text),
    Column("amr", Text),
    Column("sid", Text, index=True),  # of the session, as in OpenID Connect logout
    Column("claims", Text),  # individually requested claims (OpenID Connect Core §5.5)
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double),
    Column("expires_at", Double, nullable=False, index=True),
    Column("revoked_at", Double),
    Column("auth_method", Text),  # of the client when the grant was made; null: not known
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
    Column("user_code", Text, nullable=False, unique=True),  # usable only by a signed-in owner
    Column("client_id", Text, nullable=False, index=True),
    Column("scope", Text, nullable=False),
    Column("resources", Text, nullable=False),
    Column("interval", Double, nullable=False),  # seconds between two polls
    Column("polled_at", Double),
    Column("expires_at", Double, nullable=False, index=True),
    Column("decided_at", Double),
    Column("grant_id", Text),  # null after decided_at is set: the owner denied
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

retry_answers = Table(  # responses to refresh requests, for clients that lost the response and retry
    "valetkey_retry_answers",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # of the used token
    Column("request", LargeBinary, nullable=False),  # digest of the request that used it
    Column("answer", LargeBinary, nullable=False),  # encrypted with a key that is derived from the used token
    Column("expires_at", Double, nullable=False, index=True),
)

access_tokens = Table(  # opaque access tokens only
    "valetkey_access_tokens",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("claims", Text, nullable=False),  # the same members as in a JWT access token
    Column("expires_at", Double, nullable=False, index=True),
)

revocations = Table(  # the change feed; one row for each kind and subject: the last change
    "valetkey_revocations",
    metadata,
    Column("revocation_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("transaction_id", BigInteger, index=True),  # of the last write, set by PostgreSQL; null on SQLite
    Index("valetkey_revocations_of_subject", "kind", "subject", unique=True),
    sqlite_autoincrement=True,  # an id is not used again after its row was removed
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
    Column("count", Integer),
    Column("count_key", LargeBinary, unique=True, index=True),  # of a counted event: digest of all that is not counted
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

served_as = Table(  # one row: issuer, app, and names of settings in the app's code, of the last server that started
    "valetkey_served_as",
    metadata,
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("issuer", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("code_settings", Text, nullable=False),
)

leases = Table(
    "valetkey_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Double, nullable=False),
)

personal_access_tokens = Table(
    "valetkey_personal_access_tokens",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("owner", Text, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),  # by which its owner recognizes it: vk_pat_ and four letters
    Column("scope", Text, nullable=False),
    Column("resources", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("grant_id", Text, index=True),  # of the client that created it; the token ends with this grant
    Column("last_used_at", Double),
    Column("revoked_at", Double),
    Column("reminded", Integer),  # the last reminder, as a number of days before the expiry
)

idempotency_keys = Table(
    "valetkey_idempotency_keys",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # of caller, method, path and key
    Column("request", LargeBinary, nullable=False),  # digest of query, content type and body
    Column("begun_at", Double, nullable=False),
    Column("status", Integer),  # null while the first request is in progress
    Column("answer", LargeBinary),  # encrypted; null if it was too large to store
    Column("expires_at", Double, nullable=False, index=True),
)
