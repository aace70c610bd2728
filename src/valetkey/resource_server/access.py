"""May this call pass? Token, audience, scope, limit: no Flask here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from valetkey.protocol import bearer
from valetkey.protocol.bearer import MissingToken
from valetkey.protocol.errors import InsufficientScope, InsufficientUserAuthentication, InvalidToken
from valetkey.protocol.scope import parse_scope
from valetkey.rate_limiting.limit import Limit, parse_limit
from valetkey.rate_limiting.limiter import Spent
from valetkey.tokens.access_token import PERSONAL_CLIENT_ID, AccessToken

from .world import World

PROTECTION = "__valetkey_protection__"  # the attribute of a view that holds its Protection
BY_METHOD = "__valetkey_protection_by_method__"  # of a class of views: those of its methods that say nothing
CLOSED = "__valetkey_closed__"  # of a view that refuses everybody: which of its methods; empty: all


@dataclass(frozen=True, slots=True)
class Protection:
    """What a route asks of its callers; made once, where the route is decorated."""

    alternatives: tuple[frozenset[str], ...]  # one of these sets must be in the token; empty: any token
    challenge_scope: str
    optional: bool
    limit: Limit | None
    cost: int
    bucket: str
    resource: str | None = None  # None: the API of the server
    acr: tuple[str, ...] = ()  # any of these (RFC 9470)
    max_age: int | None = None  # seconds since the person signed in
    is_public: bool = False

    @property
    def step_up(self) -> dict[str, str]:
        """The challenge's parameters that tell how to sign in (RFC 9470 §3)."""
        told = {"acr_values": " ".join(self.acr), "max_age": "" if self.max_age is None else str(self.max_age)}
        return {name: value for name, value in told.items() if value}


def read_protection(
    scope: str | Sequence[str] | None,
    *,
    bucket: str,
    optional: bool = False,
    limit: str | None = None,
    cost: int = 1,
    resource: str | None = None,
    acr: str | None = None,
    max_age: int | None = None,
    is_public: bool = False,
) -> Protection:
    """A protection from what the decorator was given.

    :raises ValueError: with a sentence, where that cannot be read.
    """
    if scope is not None and not isinstance(scope, str):
        scope = tuple(scope)
    names = (scope,) if isinstance(scope, str) else scope or ()
    alternatives = tuple(parse_scope(one) for one in names)
    if scope is not None and (not alternatives or not all(alternatives)):
        raise ValueError("name at least one scope, or none at all for any token")
    if cost < 1:
        raise ValueError("cost must be 1 or more")
    challenge_scope = names[0] if names else ""
    limited = parse_limit(limit) if limit else None
    if limited is not None and cost > limited.burst:
        raise ValueError(
            f"cost={cost} can never be paid: only {limited.burst} calls may come at once; add `burst {cost}`"
        )
    return Protection(
        alternatives,
        challenge_scope,
        optional,
        limited,
        cost,
        bucket,
        resource,
        tuple((acr or "").split()),
        max_age,
        is_public,
    )


def check_token(world: World, protection: Protection, authorization: str | None, now: float) -> AccessToken | None:
    """The token of a caller who may pass; None for an anonymous one where that is allowed.

    :raises InvalidToken, InsufficientScope, InvalidRequest: RFC 6750 §3.1.
    :raises InsufficientUserAuthentication: RFC 9470 §3.
    :raises StoreUnavailable: where the store cannot be read.
    """
    value = bearer.read_token(authorization)
    if value is None:
        if protection.optional:
            return None
        raise MissingToken("an access token is required")
    token = world.judge.judge(value, now)
    if (protection.resource or world.settings.api_resource) not in token.audience:
        raise InvalidToken("the access token is for another resource", detail=f"aud {token.audience}")
    if protection.alternatives and not any(scope <= token.scopes for scope in protection.alternatives):
        raise InsufficientScope("the access token lacks a scope that this route needs")
    if protection.acr or protection.max_age is not None:
        _check_sign_in(token, protection, now)
    if token.client_id == PERSONAL_CLIENT_ID:
        world.last_used.note(token.jti, now, personal=True)
    elif token.grant_id is not None:
        world.last_used.note(token.grant_id, now)
    return token


def _check_sign_in(token: AccessToken, protection: Protection, now: float) -> None:
    """RFC 9470 §3: the person must have signed in so, or so lately."""
    if protection.acr and token.acr not in protection.acr:
        raise InsufficientUserAuthentication("another way of signing in is needed")
    if protection.max_age is not None and (token.auth_time is None or now - token.auth_time > protection.max_age):
        raise InsufficientUserAuthentication("a more recent sign-in is needed")


def spend(
    world: World, protection: Protection, token: AccessToken | None, route: str, network: str, now: float
) -> Spent | None:
    """Take the call from the budget of the app, the app's user, or the caller's network; never of the token.

    :raises StoreUnavailable: where the counters cannot be reached.
    """
    if protection.limit is None:
        return None
    who = f"{token.client_id}|{token.user_id or ''}" if token else f"address|{network}"
    return world.limiter.spend(f"{route}|{protection.bucket}|{who}", protection.limit, now, protection.cost)
