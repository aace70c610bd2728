"""Who the resource owner is: the interface between Valetkey and whoever keeps the accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

PASSWORD_ACR = "urn:valetkey:acr:password"  # of a sign-in with a password to an account of ours


@dataclass(frozen=True, slots=True)
class Owner:
    """A signed-in person (RFC 6749 §1.1), as a host's own accounts or ours know them.

    :param sub: never reassigned identifier, the ``sub`` of tokens; at most 255 characters.
    :param auth_time: when the person last proved who they are, seconds since 1970; None where unknown.
    :param acr: authentication context class, :param amr: methods (RFC 8176).
    :param sid: names this sign-in to clients that want to hear of its end (OpenID Connect Back-Channel Logout §2.1).
    """

    sub: str
    auth_time: float | None = None
    acr: str | None = None
    amr: tuple[str, ...] = ()
    name: str = ""
    email: str = ""
    sid: str | None = None


class ResourceOwners(Protocol):
    """What Valetkey asks of the accounts. A host passes its own as ``resource_owner=``."""

    def current(self) -> Owner | None:
        """Who is signed in on this request; None: nobody."""
        ...

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        """Where to send a person to sign in; ``next`` is the local path to come back to."""
        ...

    def find(self, sub: str) -> Owner | None:
        """The person; None: gone or disabled, and so out everywhere."""
        ...

    def claims(self, sub: str, scope: frozenset[str]) -> Mapping[str, Any]:
        """Claims about the person that this scope opens (OpenID Connect Core §5.4), in the JSON types of §5.1."""
        ...


@runtime_checkable
class SupportsSignOut(Protocol):
    """Resource owners who can also be signed out here, by an app or by themselves; a host need not have it."""

    def sign_out(self) -> None:
        """End the sign-in of this request; the apps are told already (RP-Initiated Logout §2)."""
        ...
