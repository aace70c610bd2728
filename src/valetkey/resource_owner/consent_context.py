"""Template variables of the consent pages: the client, the requested scopes and the resource owner."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from valetkey.authorization_server.authorize.consent import INDIVIDUAL_CLAIMS, ConsentPrompt
from valetkey.authorization_server.authorize.consent_record import REQUIRED_SCOPES
from valetkey.authorization_server.clients.logo_endpoint import displayable_logo_uri
from valetkey.authorization_server.device.approval import DeviceConsentPrompt
from valetkey.protocol.claims import SCOPE_CLAIMS
from valetkey.protocol.resource_owner import Owner
from valetkey.storage.clients import Client


def consent_context(
    client: Client,
    prompt: ConsentPrompt | DeviceConsentPrompt,
    owner: Owner,
    *,
    problem: str | None,
    unticked: Collection[str],
    use_other_account_url: str | None,
) -> dict[str, Any]:
    """Return the template variables that every consent page needs: in the browser, and for a device.

    What the user has unticked stays so. Scopes that the user did not allow before are not ticked at first.

    :param problem: what was wrong with the submitted form; ``None`` if none was submitted.
    :param unticked: the scopes that the user has unticked.
    :param use_other_account_url: URL to sign in with another account and then continue; ``None`` if there is none.
    """
    refused = prompt.refused_scope.difference(name for name, _, granted_before in prompt.scopes if granted_before)
    not_ticked = {*unticked, *(() if problem else refused)}
    return {
        "app": client_context(client),
        "scopes": [
            {
                "name": name,
                "words": words,
                "granted_before": granted_before,
                "kind": scope_kind(name),
                "required": name in REQUIRED_SCOPES,
                "can_be_lost": name in prompt.allowed_scope - REQUIRED_SCOPES,
                "refused_before": name in refused,
                "ticked": name in REQUIRED_SCOPES or name not in not_ticked,
            }
            for name, words, granted_before in prompt.scopes
        ],
        "changes": prompt.changes,
        "apis": prompt.apis,
        "shown": prompt.shown,
        "owner": owner,
        "use_other_account_url": use_other_account_url,
        "problem": problem,
    }


def client_context(client: Client) -> dict[str, Any]:
    """Return the template variables that describe an OAuth client: its name, links, logo and contact."""
    return {
        "name": client.name,
        "client_id": client.client_id,
        "uri": client.metadata.get("client_uri"),
        "policy_uri": client.metadata.get("policy_uri"),
        "tos_uri": client.metadata.get("tos_uri"),
        "has_logo": displayable_logo_uri(client) is not None,
        "policy": client.policy.name,
        "registered": utc_datetime(client.created_at),
        "contact": next(iter(client.metadata.get("contacts", ())), None),
    }


def utc_datetime(timestamp: float) -> datetime:
    """Return a timestamp, in seconds since 1970, as a datetime in UTC."""
    return datetime.fromtimestamp(timestamp, UTC)


def scope_kind(scope: str) -> str:
    """Return the group of a scope on the consent page: ``identity``, ``read``, ``write`` or ``other``.

    ``openid`` and OpenID Connect's scopes for claims are ``identity``. For other scopes, the last word of the name
    decides: ``notes:read`` is ``read``. The group is ``other`` if that is no word for reading or writing.
    """
    if scope in {"openid", INDIVIDUAL_CLAIMS} or scope in SCOPE_CLAIMS:
        return "identity"
    action = re.split(r"[:._-]", scope)[-1].lower()
    if action in {"write", "create", "update", "delete", "manage", "admin", "edit"}:
        return "write"
    return "read" if action in {"read", "list", "view"} else "other"
