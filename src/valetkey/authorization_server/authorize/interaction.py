"""A checked request is put aside until its owner answers; how many may wait is bounded, for anybody can begin one."""

from __future__ import annotations

from valetkey.protocol.errors import TooManyRequests
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import INTERACTION, Secret, mint
from valetkey.rate_limiting.address import network_of
from valetkey.runtime import Runtime
from valetkey.storage import interactions
from valetkey.storage.engine.transaction import Write
from valetkey.storage.interactions import Interaction

from .request import AuthorizationRequest

_MOST_IN_BROWSER = 20


def wait(
    request: AuthorizationRequest,
    browser: bytes,
    owner: Owner | None,
    address: str | None,
    runtime: Runtime,
    now: float,
) -> Secret:
    """Keep a checked request, bound to a browser; the answer is the id under which it waits.

    :raises TooManyRequests: where this network, or the person who is signed in, has begun too many.
    """
    _spend(owner, address, runtime, now)
    secret = mint(INTERACTION)
    row = Interaction(
        secret.digest(),
        browser,
        request.client_id,
        request.to_json(),
        now + runtime.settings.interaction_lifetime,
    )
    runtime.write(Write(rows=(interactions.keep_newest(browser, _MOST_IN_BROWSER - 1), interactions.ADD(row))))
    return secret


def _spend(owner: Owner | None, address: str | None, runtime: Runtime, now: float) -> None:
    """A person counts by themselves: strangers behind the same address cannot use up what is theirs."""
    key = f"interaction-of|{owner.sub}" if owner else f"interaction|{network_of(address)}"
    spent = runtime.limiter.spend(key, runtime.limits["interaction_limit"], now)
    if not spent.admitted:
        raise TooManyRequests(
            "Too many sign-ins were begun from here. Please wait a minute.", retry_after=spent.retry_after
        )
