"""The token request that the token endpoint passes to the handler of each grant type."""

from __future__ import annotations

from dataclasses import dataclass

from valetkey.protocol.errors import InvalidGrant
from valetkey.protocol.parameters import Parameters
from valetkey.runtime import Runtime
from valetkey.storage.clients import Client
from valetkey.storage.grants import Grant


@dataclass(slots=True)  # not frozen: creating a frozen instance takes 1 us longer
class TokenRequest:
    """A token request of an authenticated client. Only ``handle_token_request`` in ``token.endpoint`` creates one."""

    runtime: Runtime
    now: float
    client: Client
    parameters: Parameters
    address: str | None

    def check_owner(self, grant: Grant) -> None:
        """Check that the account of the grant's owner exists and is enabled.

        :raises InvalidGrant: if it does not exist or is disabled.
        """
        if not self.runtime.owner_cache.is_active(grant.owner, self.now):
            raise InvalidGrant("the grant was revoked", log_detail="the resource owner was deleted or disabled")
