"""The authorization endpoint where nobody has to be asked: whoever is signed in allowed the app all of it before."""

from __future__ import annotations

from collections.abc import Callable

from valetkey.accounts.owner import Owner
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import OAuthError
from valetkey.runtime import Runtime

from .authorization_endpoint import Pairs, check_request, check_target
from .consent import allow_remembered
from .next_step import next_step


def answer_unasked(
    pairs: Pairs, find_owner: Callable[[], Owner | None], runtime: Runtime, now: float
) -> AuthorizationResponse | None:
    """The answer that takes a code to the client by a redirect.

    None where it takes a page: a question, a form to post, or a refusal, which is found again and told there.

    :raises StoreUnavailable: where the store cannot be read or written.
    """
    try:
        target = check_target(pairs, runtime, now)
        asked = check_request(pairs, target, runtime, now)
        owner = find_owner() if target.mode == "query" and target.redirect_uri.isascii() else None
        if owner is None or next_step(asked, target, owner, runtime, now) != "go":
            return None
    except OAuthError:
        return None
    return allow_remembered(asked, target, owner, runtime, now)
