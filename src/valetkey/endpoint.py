"""The values that endpoints exchange: request, response, and the description of an endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .protocol.parameters import Parameters
from .runtime import Runtime

JSON_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Pragma", "no-cache"))
ALLOW_ANY_ORIGIN = ("Access-Control-Allow-Origin", "*")  # no cookie is read there, so any origin may ask
EXPOSED_HEADERS = ("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After, Valetkey-Reference")
PREFLIGHT_HEADERS = (
    ALLOW_ANY_ORIGIN,
    ("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP, MCP-Protocol-Version"),
    ("Access-Control-Max-Age", "600"),
)


@dataclass(slots=True)  # frozen, making one costs 1 us more
class MachineRequest:
    """An HTTP request to an endpoint that machines call, as plain values."""

    method: str
    body: bytes
    content_type: str
    authorization: str | None
    address: str | None
    query: str = ""
    path_parameters: Mapping[str, str] = field(default_factory=dict)  # the parts of the path that have names


@dataclass(frozen=True, slots=True)
class MachineResponse:
    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = JSON_HEADERS


@dataclass(slots=True)  # frozen, making one costs 2 us more
class Call:
    """One call of a machine endpoint: what varies, in one value."""

    runtime: Runtime
    now: float
    parameters: Parameters
    authorization: str | None
    address: str | None
    method: str = "POST"
    query: str = ""
    json_body: Mapping[str, Any] = field(default_factory=dict)  # the JSON body, where the endpoint reads one
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A machine endpoint: what it is found under in metadata, where, and the function that answers."""

    name: str
    path: str
    methods: tuple[str, ...]
    handler: Callable[[Call], MachineResponse]
    cors: bool = False
    reads_json: bool = False
    reads_raw_body: bool = False  # the body is for the endpoint to read
    uses_bearer_token: bool = False  # a resource: its refusals are challenges (RFC 6750 §3)


def json_response(body: object, *extra_headers: tuple[str, str]) -> MachineResponse:
    return MachineResponse(200, json.dumps(body).encode(), (*JSON_HEADERS, *extra_headers))
