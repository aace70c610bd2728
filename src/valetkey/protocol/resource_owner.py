"""Resource owners (RFC 6749 §1.1): the interface between Valetkey and the accounts of users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from .unavailable import BackendUnavailable

# Authentication context class of a password sign-in to one of Valetkey's own accounts.
PASSWORD_ACR = "urn:valetkey:acr:password"


@dataclass(frozen=True, slots=True)
class Owner:
    """A resource owner: a user who can grant apps access to their account (RFC 6749 §1.1).

    :param sub: identifier of the user, which becomes ``sub`` in tokens: at most 255 characters, never reassigned to
        another user.
    :param auth_time: time of the last authentication, in seconds since 1970-01-01 UTC; ``None`` if unknown.
    :param acr: authentication context class of that authentication; ``None`` if unknown.
    :param amr: authentication methods that were used (RFC 8176), such as ``("pwd",)``; see ``is_amr_value``.
    :param name: name shown on the consent page.
    :param email: e-mail address shown on the consent page; security notices, such as of a new consent, are sent there.
    :param sid: identifier of this sign-in session, used to notify clients when it ends (OpenID Connect Back-Channel
        Logout §2.1); ``None`` if they are not notified.
    :param session_began_at: when this sign-in session began, in seconds since 1970; ``None`` if unknown. It is later
        than ``auth_time`` if the user was signed in at another provider before.
    """

    sub: str
    auth_time: float | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    name: str = ""
    email: str = ""
    sid: str | None = None
    session_began_at: float | None = None


def is_amr_value(value: object) -> bool:
    """Return whether a value can be one of ``Owner.amr``: a text of visible ASCII characters, without spaces.

    The values are stored with spaces between them, so that a value with a space would become two others.
    """
    return isinstance(value, str) and value != "" and all("!" <= character <= "~" for character in value)


class ResourceOwners(Protocol):
    """Interface that Valetkey uses to look up users.

    Valetkey has its own accounts. To use the accounts of your app instead, pass an object with these methods as
    ``Valetkey(resource_owner=...)``.
    """

    def current(self) -> Owner | None:
        """Return the user who is signed in on the current request, or ``None`` if no user is."""
        ...

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        """Return the URL of the sign-in page, to which the browser is redirected.

        :param next: local path, including the query, to return to after the sign-in.
        :param fresh: whether the user is signed in but must authenticate again.
        :param acr_values: requested authentication context classes, in order of preference; empty if any will do.
        :raises LookupError: if there is no sign-in page.
        """
        ...

    def find(self, sub: str) -> Owner | None:
        """Return the user with this ``sub``, or ``None`` if the account was deleted or disabled.

        If it returns ``None``, tokens for this user are no longer accepted: at once by the OAuth endpoints, within 60
        seconds by protected routes. If it raises an exception, the response is 503. The ``auth_time``, ``acr``, ``amr``
        and ``sid`` of the result are not used and may be omitted.
        """
        ...

    def claims(self, sub: str, scope: frozenset[str]) -> Mapping[str, Any]:
        """Return claims about the user, which apps receive in ID tokens and from the userinfo endpoint.

        :param sub: the user.
        :param scope: scopes that select the claims to return (OpenID Connect Core §5.4).
        :returns: claim names and values. Standard claims must have the JSON types of §5.1.
        """
        ...


@runtime_checkable
class SupportsSignOut(Protocol):
    """Optional extension of ``ResourceOwners``: an OAuth client or a page of Valetkey can also sign users out."""

    def sign_out(self) -> None:
        """End the user's sign-in session in your app, for the current request.

        Valetkey has already notified the OAuth clients (OpenID Connect RP-Initiated Logout §2).
        """
        ...


class ResourceOwnersUnavailable(BackendUnavailable):
    """The host app's ``resource_owner`` raised an exception, for example because the host's database is down."""
