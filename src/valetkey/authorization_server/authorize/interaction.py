"""Storage of checked authorization requests until the resource owner has decided.

The number of requests is limited for each owner, network and browser, because anyone can begin a request.
"""

from __future__ import annotations

from valetkey.authorization_server import texts
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import INTERACTION, Secret, generate_secret
from valetkey.rate_limiting.address import caller_network
from valetkey.rate_limiting.named_limits import NamedLimits
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
    """Store a checked authorization request of a browser, and return the id with which ``load_pending`` finds it.

    :param browser: the digest of the cookie that identifies the browser.
    :param owner: the owner who is signed in, or ``None`` if no one is.
    :param address: the browser's IP address; its network is limited if no owner is signed in.
    :raises TooManyRequests: as ``store_interaction``.
    """
    secret = generate_secret(INTERACTION)
    row = Interaction(
        secret.digest(),
        browser,
        request.client_id,
        request.to_json(),
        now + runtime.settings.interaction_lifetime,
    )
    store_interaction(row, owner, address, runtime, now)
    return secret


def store_interaction(row: Interaction, owner: Owner | None, address: str | None, runtime: Runtime, now: float) -> None:
    """Store a request that waits for an owner's decision. All but the newest 20 of the browser are deleted.

    :param owner: the owner who is signed in, or ``None`` if no one is.
    :param address: the browser's IP address; its network is limited if no owner is signed in.
    :raises TooManyRequests: if the owner, or without a sign-in the browser's network, has begun too many requests.
    """
    _charge_interaction(owner, address, runtime.limits, now)
    others = interactions.remove_all_but_newest(row.browser, _MAX_PER_BROWSER - 1)
    runtime.store.write(Transaction(rows=(others, interactions.add(row))))


def _charge_interaction(owner: Owner | None, address: str | None, limits: NamedLimits, now: float) -> None:
    """Count a new request against the owner's limit, or against the network's limit if no owner is signed in.

    An owner has a limit apart from the network's, so that strangers behind the same address cannot use it up.

    :raises TooManyRequests: if the limit is exceeded.
    """
    caller = ("owner", owner.sub) if owner else ("network", caller_network(address))
    limits.charge("interaction_limit", *caller, now=now, description=texts.TOO_MANY_SIGN_INS)
