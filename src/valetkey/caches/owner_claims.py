"""Claims of resource owners, checked before a client gets them, and a cache of them for half a second."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from valetkey.protocol.claim_formats import claim_problems
from valetkey.protocol.resource_owner import ResourceOwners

from .change_feed import ChangeFeed
from .feed_cache import FeedCache

_MAX_ENTRIES = 10_000
_TTL_S = 0.5
_log = logging.getLogger("valetkey")


class OwnerClaimsCache:
    """Cache of the claims of resource owners, for the userinfo endpoint. They are read again after half a second."""

    def __init__(self, owners: ResourceOwners, feed: ChangeFeed) -> None:
        self._owners = owners
        self._claims: FeedCache[tuple[str, frozenset[str]], Mapping[str, Any]] = FeedCache(
            feed, self._read, lambda _entry: None, max_entries=_MAX_ENTRIES, ttl_s=_TTL_S
        )

    def find(self, owner: str, scope: frozenset[str], now: float) -> Mapping[str, Any] | None:
        """Return the claims that a scope includes, or ``None`` if the owner does not exist or is disabled.

        :param owner: the ``sub`` of the resource owner.
        """
        return self._claims.get_without_refresh((owner, scope), now)

    def _read(self, key: tuple[str, frozenset[str]], _now: float) -> Mapping[str, Any] | None:
        owner, scope = key
        return None if self._owners.find(owner) is None else read_owner_claims(owner, scope, self._owners)


def read_owner_claims(owner: str, scope: frozenset[str], owners: ResourceOwners) -> dict[str, Any]:
    """Return the claims of a resource owner that a scope includes, without empty values (OpenID Connect Core §5.3.2).

    A claim with another JSON type or format than in OpenID Connect Core §5.1 is omitted, and a warning is logged; so is
    a claim that is no JSON value.

    :param owner: the ``sub`` of the resource owner.
    """
    claims = {name: value for name, value in owners.claims(owner, scope).items() if value not in (None, "")}
    problems = {name: problem for name, value in claims.items() if (problem := _json_problem(name, value))}
    problems |= claim_problems(claims)
    for problem in problems.values():
        _log.warning("%s, and is left out", problem)
    return {name: value for name, value in claims.items() if name not in problems}


def _json_problem(name: str, value: object) -> str | None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return f"the claim {name} is no JSON value"
    return None
