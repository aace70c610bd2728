"""The decision about an authorization request (RFC 6749 §4.1.1): issue a code, prompt the owner, or refuse.

``authorize`` makes it without Flask. Its adapters, the view and the WSGI middleware in ``fast_path``, only translate
HTTP to an ``IncomingRequest``, and the decision to a response.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from valetkey.authorization_server import texts
from valetkey.authorization_server.clients.stranger import needs_click
from valetkey.caches.authenticated_session import AuthenticatedSession
from valetkey.protocol.authorization_response import AuthorizationResponse
from valetkey.protocol.errors import InvalidRequest, OAuthError, TooManyRequests
from valetkey.protocol.parameters import decode_pairs
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.secret import Secret
from valetkey.rate_limiting.named_limits import NamedLimits
from valetkey.runtime import Runtime
from valetkey.storage.consents import Consent

from .codes import issue_remembered
from .consent_record import find_consent
from .endpoint import Pairs, check_request, check_target
from .prompt import RequiredPrompt, check_prompt_none, required_prompt
from .request import AuthorizationRequest, CheckedTarget

MAX_REQUEST_LENGTH = 32_000  # bytes of the query, or of the form that a POST sends


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """An authorization request as an adapter received it, not checked yet.

    :param query: the query string, as it was sent.
    :param session: the secret in the session cookie of Valetkey's own accounts, not verified yet; ``None`` if there is
        no cookie, or the accounts are the host app's.
    :param find_owner: returns the owner who is signed in, or ``None``. Later calls return the same.
    :param now: the current time in seconds since 1970.
    """

    query: str
    session: Secret | None
    find_owner: Callable[[], Owner | None]
    now: float


@dataclass(frozen=True, slots=True)
class Issue:
    """A code was issued, because the owner's remembered consent is sufficient. Send the response to the client."""

    response: AuthorizationResponse


@dataclass(frozen=True, slots=True)
class Prompt:
    """The owner must sign in or consent before a code can be issued. Save the request, and show the consent page."""

    request: AuthorizationRequest
    owner: Owner | None  # who is signed in


@dataclass(frozen=True, slots=True)
class Refuse:
    """The request is refused.

    :param refusal: the error.
    :param target: where the error is sent; ``None`` if it must be shown on a page, because client or redirect URI are
        not valid (RFC 6749 §4.1.2.1).
    :param requires_click: whether the user is shown a link to the client instead of a redirect (RFC 9700 §4.11.2).
    """

    refusal: OAuthError
    target: CheckedTarget | None = None
    requires_click: bool = False


Decision = Issue | Prompt | Refuse


def authorize(incoming: IncomingRequest, runtime: Runtime) -> Decision:
    """Check an authorization request, and issue a code if the owner need not be prompted.

    :raises BackendUnavailable: if the database cannot be read or written.
    """
    try:
        pairs = _read_pairs(incoming.query)
        target = check_target(pairs, runtime, incoming.now)
    except OAuthError as refusal:
        return Refuse(refusal)
    try:
        request = check_request(pairs, target, runtime, incoming.now)
        return _issue_or_prompt(request, target, incoming, runtime)
    except TooManyRequests as refusal:
        return Refuse(refusal)  # a page, since an app that begins again and again would do so after a redirect
    except OAuthError as refusal:
        is_signed_out = ("prompt", "none") not in pairs and incoming.find_owner() is None
        requires_click = is_signed_out and needs_click(
            target.client.client_id, target.redirect_uri, runtime, incoming.now
        )
        return Refuse(refusal, target, requires_click)


def _read_pairs(query: str) -> Pairs:
    if len(query) > MAX_REQUEST_LENGTH:
        raise InvalidRequest(texts.REQUEST_TOO_LONG.format(length=MAX_REQUEST_LENGTH))
    return decode_pairs(query)


def _issue_or_prompt(
    request: AuthorizationRequest, target: CheckedTarget, incoming: IncomingRequest, runtime: Runtime
) -> Issue | Prompt:
    """Issue a code for a checked request if the owner need not be prompted.

    An owner whom Valetkey signed in is cached with the consent to the client, after a code was issued for both. A code
    is issued from the cached values only if the SQL statement that stores it finds that they are still true. Otherwise
    both are read, and the prompt is decided again if they differ from the cached ones.

    :raises OAuthError: if the request must be refused, or has ``prompt=none`` and needs a prompt.
    """
    sessions, session, now = runtime.authenticated_sessions, incoming.session, incoming.now
    digest = session.digest() if session else None
    key = digest + target.client.client_id.encode() if digest else b""
    cached = sessions.find(key) if digest else None
    step: RequiredPrompt | OAuthError = "sign_in"
    if cached is not None:
        step = _find_step(request, target, cached.owner, cached.consent, runtime, now)
        if step == "issue":
            _charge_silent_authorization(cached.owner, runtime.limits, now)
            response = issue_remembered(request, target, cached.owner, cached.consent, runtime, now, digest)
            if response is not None:
                return Issue(response)
            sessions.discard(key)  # signed out or disabled, or the consent was narrowed or revoked
            cached = None
    owner = incoming.find_owner()
    consent = find_consent(owner, request.client_id, runtime.store)
    if cached is None or (cached.owner, cached.consent) != (owner, consent):
        step = _find_step(request, target, owner, consent, runtime, now)
    if owner is not None and consent is not None and step == "issue":
        _charge_silent_authorization(owner, runtime.limits, now)
        response = issue_remembered(request, target, owner, consent, runtime, now, digest)
        if response is not None:
            if digest is not None:
                sessions.add(key, AuthenticatedSession(digest, owner, consent), sessions.generation)
            return Issue(response)
        step = "consent"  # the consent was changed or withdrawn meanwhile
    if isinstance(step, OAuthError):
        raise step
    check_prompt_none(request, step)
    return Prompt(request, owner)


def _charge_silent_authorization(owner: Owner, limits: NamedLimits, now: float) -> None:
    """Charge a code that is issued without a prompt to the user's limit, which all apps share.

    :raises TooManyRequests: if the limit is exceeded.
    """
    limits.charge(
        "silent_authorization_limit",
        owner.sub,
        now=now,
        description="apps have asked for access too often in a short time",
        fails_open=True,
    )


def _find_step(
    request: AuthorizationRequest,
    target: CheckedTarget,
    owner: Owner | None,
    consent: Consent | None,
    runtime: Runtime,
    now: float,
) -> RequiredPrompt | OAuthError:
    """Return what ``required_prompt`` returns or raises: the cached owner may not be signed in any more."""
    try:
        return required_prompt(request, target, owner, consent, runtime, now, can_step_up=runtime.can_step_up)
    except OAuthError as refusal:
        return refusal
