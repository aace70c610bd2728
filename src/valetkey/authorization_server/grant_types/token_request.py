"""What every grant type is given."""

from __future__ import annotations

from dataclasses import dataclass

from valetkey.protocol.parameters import Parameters
from valetkey.runtime import Runtime
from valetkey.storage.clients import Client


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token request whose client has proved itself. Only ``token_endpoint.exchange`` makes one."""

    runtime: Runtime
    now: float
    client: Client
    parameters: Parameters
    address: str | None
