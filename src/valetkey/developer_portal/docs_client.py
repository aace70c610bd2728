"""The OAuth client with which the API reference page gets access tokens: a public browser client with PKCE."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.clients.service import register
from valetkey.protocol.client_metadata import parse_client_metadata
from valetkey.protocol.client_policy import CLIENT_POLICIES
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import change_feed, clients
from valetkey.storage.engine.transaction import Transaction

DOCS_CLIENT_ID = "valetkey-docs"


def docs_redirect_uri(settings: Settings) -> str:
    """Return the redirect URI of the API reference page's client. The setting ``docs_path`` must not be None."""
    return f"{settings.issuer}{settings.docs_path}/authorized"


def register_docs_client(runtime: Runtime, now: float) -> None:
    """Register the OAuth client of the API reference page, or update it if the settings changed.

    The settings determine its name and redirect URI. Does nothing if the setting ``docs_path`` is None. A client that
    the operator disabled stays disabled.
    """
    settings = runtime.settings
    if settings.docs_path is None:
        return
    current = {"client_name": f"{settings.name}: API reference", "redirect_uris": [docs_redirect_uri(settings)]}
    client = clients.find(runtime.store, DOCS_CLIENT_ID, now)
    if client is None:
        registration = {
            **current,
            "grant_types": ["authorization_code"],  # no refresh token: the page stores no token that outlives it
            "token_endpoint_auth_method": "none",
        }
        policy, metadata = parse_client_metadata(registration, CLIENT_POLICIES["browser"])
        register(runtime, DOCS_CLIENT_ID, policy.name, metadata, now)  # None if another process was first
    elif not current.items() <= client.metadata.items():
        updated = {**client.metadata, **current}
        changed = clients.change(client, metadata=updated, disabled_at=client.disabled_at)
        event = audit_statement("client.changed", now, client_id=DOCS_CLIENT_ID)
        # If it is not written, another process was first, or the operator: the next start compares again.
        runtime.store.write(Transaction(changed, (change_feed.add("changed", DOCS_CLIENT_ID), event)))
