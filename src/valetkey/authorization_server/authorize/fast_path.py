"""Silent authorization: issue a code without a page if the owner is signed in and consented to this request before."""

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
    """Return the response that redirects an authorization code to the client, or ``None`` if the request needs a page.

    A page is needed to sign in, to ask for consent, to send the response by ``form_post``, and to report an error. The
    caller then passes the request to the Flask view, which checks it again.

    :param query: the query string of the authorization request.
    :param session: the secret in the browser's session cookie, not verified yet.
    :param find_owner: returns the owner who is signed in with a session secret, or ``None``.
    :raises StoreUnavailable: if the database cannot be read or written.
    """
    try:
        pairs = decode_pairs(query)
        client_ids = _client_ids(pairs)
        key = session.digest() + "|".join(client_ids).encode()
        cached_session = runtime.authenticated_sessions.find(key)
        owner = cached_session.owner if cached_session else find_owner(session)
        if owner is None or any(runtime.clients.uses_metadata_document(client_id, now) for client_id in client_ids):
            return None  # such a client needs consent each time, and its document may have to be fetched
        target = check_target(pairs, runtime, now)
        authenticated_session = cached_session or _read_authenticated_session(
            session, owner, target.client.client_id, runtime
        )
        authorization_request = check_request(pairs, target, runtime, now)
        if authenticated_session is None or target.mode != "query":
            return None
        if (
            required_prompt(authorization_request, target, owner, runtime, now, authenticated_session.consented_scope)
            != "issue"
        ):
            return None
    except OAuthError:
        return None
    response = issue_remembered(authorization_request, target, owner, runtime, now, authenticated_session)
    if response is None:
        runtime.authenticated_sessions.discard(key)  # signed out or disabled, or the consent was narrowed or revoked
    elif cached_session is None:
        runtime.authenticated_sessions.add(key, authenticated_session, runtime.authenticated_sessions.generation)
    return response


def _read_authenticated_session(
    session: Secret, owner: Owner, client_id: str, runtime: Runtime
) -> AuthenticatedSession | None:
    """Return the session with the owner's remembered consent for a client, or ``None`` if there is no consent."""
    consent = consents.find(runtime.store, owner.sub, client_id)
    return AuthenticatedSession(session.digest(), owner, consent.scope) if consent else None


def _client_ids(pairs: Pairs) -> list[str]:
    return [value for name, value in pairs if name == "client_id"]
