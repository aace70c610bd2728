"""The identity of a client as it is shown to the user who consents, and what changed in it since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .display_name import normalize_display_name
from .uri import is_loopback_host, split_uri

# Authentication methods of the token endpoint, the weakest first. Methods that are not listed count as the weakest.
_AUTH_METHOD_STRENGTH = {"none": 0, "client_secret_basic": 1, "client_secret_post": 1, "private_key_jwt": 2}
_DEFAULT_PORTS = {"https": 443, "http": 80}


def describe_identity(client_id: str, policy: str, metadata: Mapping[str, Any]) -> str:
    """Return a client's identity as JSON text, to be stored with a consent.

    Its members are the name, the client policy, the authentication method, and the schemes and hosts of the redirect
    URIs. Clients with the same identity have the same text. Keys, secrets, contacts, logo and paths of redirect URIs
    are not part of the identity.
    """
    identity = {
        "name": str(metadata.get("client_name") or client_id),
        "policy": policy,
        "auth_method": metadata.get("token_endpoint_auth_method", "none"),
        "redirects": sorted({_scheme_and_host(uri) for uri in metadata.get("redirect_uris", ())}),
    }
    return json.dumps(identity, separators=(",", ":"), sort_keys=True)


def covers_identity(consented: str | None, present: str) -> bool:
    """Return whether a consent to one identity of a client is a consent to its present identity too.

    It is not if the name or the policy is another one, if a redirect URI has a new scheme or host, or if the
    authentication method is weaker.

    :param consented: the identity that ``describe_identity`` returned when the user consented; ``None`` if unknown.
    """
    return consented == present or (consented is not None and not identity_changes(consented, present))


@lru_cache(maxsize=256)
def identity_changes(consented: str, present: str) -> tuple[str, ...]:
    """Return what changed in a client's identity that the user must know of, one sentence for each change."""
    old, new = json.loads(consented), json.loads(present)
    changes = []
    if normalize_display_name(old["name"]) != normalize_display_name(new["name"]):
        changes.append(f"Its name was {old['name']}.")
    added = sorted(set(new["redirects"]) - set(old["redirects"]))
    if added:
        changes.append(f"It can now redirect you to {', '.join(added)}.")
    if old["policy"] != new["policy"]:
        changes.append("It is now another kind of app.")
    if _strength(new["auth_method"]) < _strength(old["auth_method"]):
        changes.append("It now authenticates in a weaker way.")
    return tuple(changes)


def _strength(auth_method: str) -> int:
    return _AUTH_METHOD_STRENGTH.get(auth_method, 0)


def _scheme_and_host(uri: str) -> str:
    """Return the scheme of a redirect URI, and its host and port if it is an http or https URI.

    The port of a loopback address is left out, because a native app chooses it anew each time (RFC 8252 §7.3).
    """
    parts, _ = split_uri(uri)
    if parts is None:  # registered before such URIs were rejected
        return uri
    if parts.scheme not in _DEFAULT_PORTS:
        return f"{parts.scheme}:"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    has_port = parts.port not in {None, _DEFAULT_PORTS[parts.scheme]} and not is_loopback_host(parts.hostname)
    return f"{parts.scheme}://{host}:{parts.port}" if has_port else f"{parts.scheme}://{host}"
