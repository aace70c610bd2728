"""Storage of checked requests until their owner decides; limited, because anyone can begin a request."""

from __future__ import annotations

from valetkey.protocol.errors import TooManyRequests
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import INTERACTION, Secret, generate_secret
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.storage import interactions
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.interactions import Interaction

from .request import AuthorizationRequest

_MAX_PER_BROWSER = 20


def save_interaction(
    request: AuthorizationRequest,
    browser: bytes,
    owner: Owner | None,
    address: str | None,
    runtime: Runtime,
    now: float,
) -> Secret:
    """Store a checked request, bound to a browser, and return the id with which ``load_pending`` finds it.

    Only the newest 20 requests of a browser stay.

    :param browser: the digest of the browser's cookie.
    :param owner: the owner who is signed in, or None.
    :raises TooManyRequests: if the owner, or the network of a browser without a sign-in, has begun too many.
    """
    _charge_interaction(owner, address, runtime, now)
    secret = generate_secret(INTERACTION)
    row = Interaction(
        secret.digest(),
        browser,
        request.client_id,
        request.to_json(),
        now + runtime.settings.interaction_lifetime,
    )
    runtime.write(
        Transaction(rows=(interactions.remove_all_but_newest(browser, _MAX_PER_BROWSER - 1), interactions.add(row)))
    )
    return secret


def _charge_interaction(owner: Owner | None, address: str | None, runtime: Runtime, now: float) -> None:
    """Charge the owner's budget, or the network's if there is no sign-in.

    An owner has a budget apart from the network's, so that strangers behind the same address cannot use it up.
    """
    key = f"interaction-of|{owner.sub}" if owner else f"interaction|{caller_network(address)}"
    spent = runtime.limiter.spend(key, runtime.limits["interaction_limit"], now)
    if not spent.is_admitted:
        raise TooManyRequests(
            "Too many sign-ins were begun from here. Please wait a minute.", retry_after=spent.retry_after
        )
