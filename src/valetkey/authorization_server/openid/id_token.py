"""ID tokens (OpenID Connect Core §2): built at the token endpoint, verified when sent back as ``id_token_hint``."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from valetkey.caches.owner_claims import read_owner_claims
from valetkey.protocol.claims import SCOPE_CLAIMS, STANDARD_CLAIMS
from valetkey.protocol.errors import InvalidGrant, InvalidRequest
from valetkey.runtime import Runtime
from valetkey.storage.clients import Client
from valetkey.storage.grants import Grant
from valetkey.tokens.jws import SIGNING_REGISTRY, decode_unverified
from valetkey.tokens.key_ring import KeyRing

from .encrypted_hint import decrypt_hint
from .subject import session_id_for_client, subject_for_client

DEFAULT_ALGORITHM = "RS256"  # OpenID Connect Dynamic Client Registration §2
_MAX_HINT_LENGTH = 8192


def make_id_token(
    runtime: Runtime,
    client: Client,
    grant: Grant,
    scope: frozenset[str],
    access_token: str,
    now: float,
    nonce: str | None = None,
) -> str | None:
    """Return the ID token to issue with an access token, or ``None`` if the access token lacks the scope ``openid``.

    :param scope: the scope of the access token, which may be less than that of the grant.
    :param access_token: the value of the access token, from which ``at_hash`` is computed.
    :param nonce: the ``nonce`` of the authorization request; ``None`` if it had none, or at a refresh.
    :raises InvalidGrant: if the client requires ``auth_time``, and the time of the sign-in is unknown: the client
        registered that after the grant, or the grant is of an earlier version.
    """
    if "openid" not in scope:
        return None
    if grant.auth_time is None and requires_auth_time(client, scope):
        raise InvalidGrant("the time of the sign-in is unknown, and the client requires auth_time")
    algorithm = client.metadata.get("id_token_signed_response_alg", DEFAULT_ALGORITHM)
    claims: dict[str, Any] = {
        **_owner_claims(runtime, client, grant, scope),
        "iss": runtime.settings.issuer,
        "sub": subject_for_client(grant.owner, client, runtime.keys, now),
        "aud": client.client_id,
        "iat": int(now),
        "exp": int(now) + runtime.settings.id_token_lifetime,
        "at_hash": _at_hash(access_token, algorithm),
        "auth_time": int(grant.auth_time) if grant.auth_time is not None else None,
        "nonce": nonce,
        "acr": grant.acr,
        "amr": grant.amr.split() if grant.amr else None,
        "sid": session_id_for_client(grant.sid, client, runtime.keys, now) if grant.sid else None,
    }
    present = {name: value for name, value in claims.items() if value is not None}
    return runtime.token_generator.sign_jwt(present, algorithm, "JWT", now)


def requires_auth_time(client: Client, scope: frozenset[str]) -> bool:
    """Return whether each ID token of a client must contain ``auth_time`` (OpenID Connect Registration §2)."""
    return "openid" in scope and bool(client.metadata.get("require_auth_time"))


def ensure_signing_keys(key_ring: KeyRing, metadata: Mapping[str, Any], now: float) -> None:
    """Create missing signing keys for the algorithms in a client's metadata, to publish them before their first use."""
    for member in ("id_token_signed_response_alg", "userinfo_signed_response_alg"):
        if member in metadata:
            key_ring.get_signing_key(metadata[member], now)


def read_hint(hint: str | None, client: Client, runtime: Runtime, now: float) -> str | None:
    """Return the ``sub`` of an ``id_token_hint``, or ``None`` if the request has none.

    An expired ID token is accepted (OpenID Connect Core §3.1.2.1).

    :param hint: the value of the parameter ``id_token_hint``, encrypted or not; ``None`` if it was not sent.
    :raises InvalidRequest: if it is not an ID token of this server, or was issued to another client.
    """
    if hint is None:
        return None
    id_token = decrypt_hint(hint, runtime.cipher, now)
    claims = verify_id_token(id_token, runtime, now) if id_token else None
    if claims is None or claims.get("aud") != client.client_id:
        raise InvalidRequest("id_token_hint is not an ID token of this server for this client")
    return str(claims["sub"])


def verify_id_token(token: str, runtime: Runtime, now: float) -> dict[str, Any] | None:
    """Return the claims of an ID token that this server issued, or ``None`` if it did not issue the token.

    The token may be expired, and may be signed with a retired key.
    """
    try:
        header, _ = decode_unverified(token, max_length=_MAX_HINT_LENGTH)
        kid = str(header.get("kid"))
        key = runtime.keys.find(kid, now) or runtime.keys.find_retired(kid, now)
        if key is None or header.get("typ") != "JWT" or header.get("alg") != key.algorithm:
            return None
        claims = json.loads(jws.deserialize_compact(token.encode(), key.key, registry=SIGNING_REGISTRY).payload)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
    # Signed userinfo has no exp, and is no ID token (RFC 8725 §3.12).
    is_own = (
        isinstance(claims, dict) and claims.get("iss") == runtime.settings.issuer and {"sub", "exp"} <= claims.keys()
    )
    return claims if is_own else None


def _owner_claims(runtime: Runtime, client: Client, grant: Grant, granted_scope: frozenset[str]) -> dict[str, Any]:
    """Return the claims about the owner: those that were requested one by one, and were granted.

    If the operator chose ``claims_in_id_token`` for the client, also those of the granted scopes.
    """
    included = runtime.settings.claims_of(granted_scope)
    requested = frozenset(json.loads(grant.claims).get("id_token", {}) if grant.claims else ())
    requested &= included | STANDARD_CLAIMS.keys()
    names = requested | included if client.metadata.get("claims_in_id_token") else requested
    if not names:
        return {}
    scope = granted_scope.union(SCOPE_CLAIMS) if requested else granted_scope
    owner_claims = read_owner_claims(grant.owner, scope, runtime.owners)
    return {name: owner_claims[name] for name in sorted(names) if name in owner_claims}


def _at_hash(access_token: str, algorithm: str) -> str:
    """Return the ``at_hash`` claim for an access token (OpenID Connect Core §3.1.3.6).

    It is the left half of the token's digest, base64url-encoded. The hash function is the one that the signature
    algorithm uses.
    """
    hash_function = hashlib.sha256 if algorithm.endswith("256") else hashlib.sha512  # Ed25519: RFC 8032 §5.1
    digest = hash_function(access_token.encode("ascii")).digest()
    half = digest[: len(digest) // 2]
    return base64.urlsafe_b64encode(half).rstrip(b"=").decode()
