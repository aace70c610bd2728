"""What every grant type is given, and what all grants of people ask of their owner."""

from __future__ import annotations

from dataclasses import dataclass

from valetkey.protocol.errors import InvalidGrant
from valetkey.protocol.parameters import Parameters
from valetkey.runtime import Runtime
from valetkey.storage.clients import Client
from valetkey.storage.grants import Grant


@dataclass(slots=True)  # frozen, making one costs 1 us more
class TokenRequest:
    """A token request whose client has proved itself. Only ``token_endpoint.exchange`` makes one."""

    runtime: Runtime
    now: float
    client: Client
    parameters: Parameters
    address: str | None

    def check_owner(self, grant: Grant) -> None:
        """:raises InvalidGrant: where whoever gave the grant is not let in any more."""
        if not self.runtime.owner_cache.is_active(grant.owner, self.now):
            raise InvalidGrant("the grant was revoked", log_detail="the resource owner is gone or disabled")
