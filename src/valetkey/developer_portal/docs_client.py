"""The client that the API reference is: public, in the browser, PKCE; it works without anybody registering it."""

from __future__ import annotations

from valetkey.activity.audit import audit_statement
from valetkey.protocol.client_metadata import parse_client_metadata
from valetkey.protocol.client_policy import CLIENT_POLICIES
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import change_feed, clients
from valetkey.storage.engine.transaction import Transaction

DOCS_CLIENT_ID = "valetkey-docs"


def docs_redirect_uri(settings: Settings) -> str:
    """Where the reference gets its codes: on the issuer's own origin."""
    return f"{settings.issuer}{settings.docs_path}/authorized"


def register_docs_client(runtime: Runtime) -> None:
    """See that the client is there, under this site's name and address; whether it may be used is the operator's."""
    settings, now = runtime.settings, runtime.clock()
    if settings.docs_path is None:
        return
    wanted = {"client_name": f"{settings.name}: API reference", "redirect_uris": [docs_redirect_uri(settings)]}
    known = clients.find(runtime.store, DOCS_CLIENT_ID, now)
    if known is None:
        sent = {
            **wanted,
            "grant_types": ["authorization_code"],  # no refresh token: what the page forgets is gone
            "token_endpoint_auth_method": "none",
        }
        rules, metadata = parse_client_metadata(sent, CLIENT_POLICIES["browser"])
        added = clients.add(DOCS_CLIENT_ID, rules.name, metadata, now)
        runtime.write(
            Transaction(added, (audit_statement("client.created", now, client_id=DOCS_CLIENT_ID),))
        )  # or another did
    elif not wanted.items() <= known.metadata.items():  # the site has another name, or the page has moved
        moved = {**known.metadata, **wanted}
        runtime.revoke(
            clients.change(known, metadata=moved, disabled_at=known.disabled_at),
            change_feed.add("changed", DOCS_CLIENT_ID, now, runtime.revocation_expiry),
            audit_statement("client.changed", now, client_id=DOCS_CLIENT_ID),
        )
