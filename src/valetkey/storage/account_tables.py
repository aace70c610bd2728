"""Tables of accounts, sign-in sessions, providers and mailed links; see ``tables.py``."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Integer, LargeBinary, Table, Text

from .metadata import metadata

accounts = Table(
    "valetkey_accounts",
    metadata,
    Column("sub", Text, primary_key=True),
    Column("email", Text, unique=True),  # lower case; null after another user proved that it is theirs
    Column("name", Text, nullable=False),
    Column("password_hash", Text),  # argon2id
    Column("claims", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("disabled_at", Double),
    Column("email_verified_at", Double),  # when a link that was mailed to the address was opened
    Column("signed_in_at", Double),  # last
    Column("unreviewed_since", Double),  # when the password was reset; null once the owner has reviewed other access
)

sessions = Table(
    "valetkey_sessions",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("sub", Text, nullable=False, index=True),
    Column("browser", LargeBinary, nullable=False, index=True),  # digest of the cookie that identifies the browser
    Column("sid", Text, nullable=False, index=True),  # the session's id in tokens for clients; not a credential
    Column("began_at", Double, nullable=False),
    Column("auth_time", Double),  # when the user signed in; null if the provider does not say it
    Column("expires_at", Double, nullable=False, index=True),
    Column("ended_at", Double),
    Column("address", Text),
    # Of a sign-in at a provider; null: the sign-in was with a password.
    Column("issuer", Text),
    Column("subject", Text),  # the user's id at the provider
    Column("issuer_sid", Text, index=True),  # the session's id at the provider, in its logout tokens
    Column("acr", Text),
    Column("amr", Text),
    Index("valetkey_sessions_of_subject", "subject", "issuer"),
)

provider_requests = Table(  # authorization requests to providers that wait for the response
    "valetkey_provider_requests",
    metadata,
    Column("digest", LargeBinary, primary_key=True),  # of the parameter state
    Column("browser", LargeBinary, nullable=False, index=True),
    Column("provider_id", Text, nullable=False),
    Column("sub", Text),  # of the account that the provider is to be connected to; null: sign in or sign up
    Column("next", Text, nullable=False),  # local path to continue with
    Column("min_auth_time", Double),  # the user must have signed in at the provider at this time or later
    Column("takes_address", Integer, nullable=False),  # 1: remove the address from an account that has not verified it
    Column("begun_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("used_at", Double),
)

provider_links = Table(  # users of providers who can sign in to an account
    "valetkey_provider_links",
    metadata,
    Column("subject", Text, primary_key=True),  # the user's id at the provider
    Column("issuer", Text, primary_key=True),
    Column("sub", Text, nullable=False),  # of the account
    Column("email", Text),  # at the provider, when the link was made
    Column("linked_at", Double, nullable=False),
    Column("signed_in_at", Double),  # last
    Column("tokens", LargeBinary),  # the provider's tokens, encrypted; null if they are not kept
    Column("refreshing_until", Double),  # one process refreshes the tokens until then
    Index("valetkey_provider_links_of_account", "sub", "issuer", unique=True),
)

provider_disconnections = Table(  # users of providers whom no address connects with an account again
    "valetkey_provider_disconnections",
    metadata,
    Column("sub", Text, primary_key=True),  # of the account
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),  # the user's id at the provider
)

mail_links = Table(  # links sent by mail: opening one proves that the user receives mail there
    "valetkey_mail_links",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("purpose", Text, nullable=False),  # sign_up, reset or verify
    Column("email", Text, nullable=False, index=True),
    Column("sub", Text, index=True),  # null for sign_up: there is no account yet
    Column("name", Text, nullable=False),
    Column("next", Text, nullable=False),  # local path to continue with
    Column("expires_at", Double, nullable=False, index=True),
    Column("used_at", Double),
)
