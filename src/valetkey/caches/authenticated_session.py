"""Value for a cache: the session and the consent read when a client got an authorization code without a prompt."""

from __future__ import annotations

from dataclasses import dataclass

from valetkey.protocol.resource_owner import Owner
from valetkey.storage.consents import Consent


@dataclass(frozen=True, slots=True)
class AuthenticatedSession:
    """A session of a resource owner and the owner's consent for one client, as they were read from the database.

    Both may have changed since. The SQL statement that adds the next grant verifies them: it adds nothing if the
    session has ended, the account is disabled, or the consent has another scope or is to another identity.
    """

    session_digest: bytes  # digest of the session's secret
    owner: Owner
    consent: Consent
