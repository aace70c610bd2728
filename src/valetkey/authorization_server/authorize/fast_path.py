"""The authorization endpoint where nobody has to be asked: whoever is signed in allowed the app all of it before."""

from __future__ import annotations

from collections.abc import Callable

from valetkey.caches.authenticated_session import AuthenticatedSession
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import OAuthError
from valetkey.protocol.parameters import decode_pairs
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import consents

from .consent import issue_remembered
from .endpoint import Pairs, check_request, check_target
from .prompt import required_prompt


def authorize_silently(
    query: str, session: Secret, find_owner: Callable[[Secret], Owner | None], runtime: Runtime, now: float
) -> AuthorizationResponse | None:
    """The answer that takes a code to the client by a redirect.

    None where it takes a page: a question, a form to post, or a refusal, which is found again and told there.

    :param session: the sign-in that the browser claims to have.
    :raises StoreUnavailable: where the store cannot be read or written.
    """
    try:
        pairs = decode_pairs(query)
        clients = _client_ids(pairs)
        key = session.digest() + "|".join(clients).encode()
        known = runtime.authenticated_sessions.find(key)
        owner = known.owner if known else find_owner(session)
        if owner is None or any(runtime.clients.uses_metadata_document(client_id, now) for client_id in clients):
            return None  # such a client is asked about each time, and its document may have to be fetched for it
        target = check_target(pairs, runtime, now)
        visit = known or _read_authenticated_session(session, owner, target.client.client_id, runtime)
        asked = check_request(pairs, target, runtime, now)
        if visit is None or target.mode != "query":
            return None
        if required_prompt(asked, target, owner, runtime, now, visit.consented_scope) != "go":
            return None
    except OAuthError:
        return None
    response = issue_remembered(asked, target, owner, runtime, now, visit)
    if response is None:
        runtime.authenticated_sessions.discard(key)  # it is over, or less was allowed since
    elif known is None:
        runtime.authenticated_sessions.add(key, visit, runtime.authenticated_sessions.generation)
    return response


def _read_authenticated_session(
    session: Secret, owner: Owner, client_id: str, runtime: Runtime
) -> AuthenticatedSession | None:
    """None: nothing was allowed before."""
    before = consents.find(runtime.store, owner.sub, client_id)
    return AuthenticatedSession(session.digest(), owner, before.scope) if before else None


def _client_ids(pairs: Pairs) -> list[str]:
    return [value for name, value in pairs if name == "client_id"]
