"""The authorization endpoint where nobody has to be asked: whoever is signed in allowed the app all of it before."""

from __future__ import annotations

from collections.abc import Callable

from valetkey.accounts.owner import Owner
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import OAuthError
from valetkey.protocol.parameters import decode
from valetkey.runtime import Runtime

from .authorization_endpoint import Pairs, check_request, check_target
from .consent import allow_remembered
from .next_step import next_step


def answer_unasked(
    query: str, find_owner: Callable[[], Owner | None], runtime: Runtime, now: float
) -> AuthorizationResponse | None:
    """The answer that takes a code to the client by a redirect.

    None where it takes a page: a question, a form to post, or a refusal, which is found again and told there.

    :raises StoreUnavailable: where the store cannot be read or written.
    """
    try:
        pairs = decode(query)
        owner = find_owner()
        if owner is None or any(runtime.clients.describes_itself(client_id, now) for client_id in _clients(pairs)):
            return None  # such a client is asked about each time, and its document may have to be fetched for it
        target = check_target(pairs, runtime, now)
        asked = check_request(pairs, target, runtime, now)
        if target.mode != "query" or next_step(asked, target, owner, runtime, now) != "go":
            return None
    except OAuthError:
        return None
    return allow_remembered(asked, target, owner, runtime, now)


def _clients(pairs: Pairs) -> list[str]:
    return [value for name, value in pairs if name == "client_id"]
