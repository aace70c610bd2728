"""The authorization endpoint where nobody has to be asked: whoever is signed in allowed the app all of it before."""

from __future__ import annotations

from collections.abc import Callable

from valetkey.caches.authenticated_session import Visit
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import OAuthError
from valetkey.protocol.parameters import decode
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import consents

from .consent import allow_remembered
from .endpoint import Pairs, check_request, check_target
from .prompt import next_step


def answer_unasked(
    query: str, session: Secret, signed_in: Callable[[Secret], Owner | None], runtime: Runtime, now: float
) -> AuthorizationResponse | None:
    """The answer that takes a code to the client by a redirect.

    None where it takes a page: a question, a form to post, or a refusal, which is found again and told there.

    :param session: the sign-in that the browser claims to have.
    :raises StoreUnavailable: where the store cannot be read or written.
    """
    try:
        pairs = decode(query)
        clients = _clients(pairs)
        key = session.digest() + "|".join(clients).encode()
        known = runtime.visits.find(key)
        owner = known.owner if known else signed_in(session)
        if owner is None or any(runtime.clients.describes_itself(client_id, now) for client_id in clients):
            return None  # such a client is asked about each time, and its document may have to be fetched for it
        target = check_target(pairs, runtime, now)
        visit = known or _read_visit(session, owner, target.client.client_id, runtime)
        asked = check_request(pairs, target, runtime, now)
        if visit is None or target.mode != "query":
            return None
        if next_step(asked, target, owner, runtime, now, visit.consented) != "go":
            return None
    except OAuthError:
        return None
    response = allow_remembered(asked, target, owner, runtime, now, visit)
    if response is None:
        runtime.visits.drop(key)  # it is over, or less was allowed since
    elif known is None:
        runtime.visits.add(key, visit, runtime.visits.generation)
    return response


def _read_visit(session: Secret, owner: Owner, client_id: str, runtime: Runtime) -> Visit | None:
    """None: nothing was allowed before."""
    before = consents.find(runtime.store, owner.sub, client_id)
    return Visit(session.digest(), owner, before.scope) if before else None


def _clients(pairs: Pairs) -> list[str]:
    return [value for name, value in pairs if name == "client_id"]
