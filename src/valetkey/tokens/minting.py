"""Minting access tokens: JWTs (RFC 9068), or opaque ones where the resource asks for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jws

from valetkey.protocol.scope import format_scope
from valetkey.protocol.secret import ACCESS_TOKEN, mint, random_id
from valetkey.settings import Settings
from valetkey.storage import opaque_tokens
from valetkey.storage.grants import Grant
from valetkey.storage.statement import Bound

from .resources import Resources
from .signatures import OURS
from .signing import KeyRing

_to_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Minted:
    """A new access token; its row has to be written before the client is told (None: a JWT has none)."""

    value: str
    expires_in: int
    row: Bound | None


class TokenMint:
    def __init__(self, settings: Settings, keys: KeyRing, resources: Resources) -> None:
        self._settings = settings
        self._keys = keys
        self._resources = resources

    def access_token(
        self,
        *,
        client_id: str,
        scope: frozenset[str],
        audience: tuple[str, ...],
        now: float,
        grant: Grant | None,
        opaque: bool = False,
    ) -> Minted:
        """An access token for one or more resources; without a grant it is the machine's own (RFC 9068 §2.2).

        :param opaque: also where the resource would take a JWT.

        :raises StoreUnavailable: where there is no key to sign with.
        """
        lifetime = self._settings.access_token_lifetime
        claims: dict[str, Any] = {
            "iss": self._settings.issuer,
            "sub": grant.owner if grant else client_id,
            "aud": audience[0] if len(audience) == 1 else list(audience),
            "client_id": client_id,
            "iat": int(now),
            "exp": int(now) + lifetime,
            "jti": random_id(),
            "scope": format_scope(scope),
        }
        if grant:
            claims |= _of_grant(grant)
        resource = self._resources.find(audience[0])
        if opaque or resource.token_format == "opaque":
            value = mint(ACCESS_TOKEN)
            return Minted(value.reveal(), lifetime, opaque_tokens.add(value.digest(), claims))
        return Minted(self.sign(claims, resource.signing_alg, "at+jwt", now), lifetime, None)

    def sign(self, claims: Mapping[str, Any], algorithm: str, typ: str, now: float) -> str:
        """A JWT of ours with these claims.

        :raises StoreUnavailable: where there is no key to sign with.
        """
        key = self._keys.current(algorithm, now)
        header = {"alg": algorithm, "kid": key.kid, "typ": typ}
        # What jwt.encode does, without looking the registry up and checking the header's types each time: 20 us.
        return jws.serialize_compact(header, _to_json(claims).encode(), key.key, registry=OURS)


def _of_grant(grant: Grant) -> Mapping[str, Any]:
    known: dict[str, Any] = {
        "grant_id": grant.grant_id,
        "acr": grant.acr,
        "amr": grant.amr.split() if grant.amr else None,
    }
    if grant.auth_time is not None:
        known["auth_time"] = int(grant.auth_time)
    return {name: value for name, value in known.items() if value is not None}
