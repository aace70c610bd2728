"""Value classes of machine endpoints (those that return data, not pages): request, call, response and endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .protocol.access_token import AccessToken
from .protocol.json_encoding import encode_json
from .protocol.parameters import Parameters
from .protocol.refusal import JSON_HEADERS
from .runtime import Runtime

ALLOW_ANY_ORIGIN = ("Access-Control-Allow-Origin", "*")  # safe: these endpoints read no cookies
EXPOSED_HEADERS = ("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After, Valetkey-Reference")


@dataclass(slots=True)  # not frozen: that would cost 1 us more per request
class MachineRequest:
    """An HTTP request to a machine endpoint (one that returns data, not a page), independent of the web framework.

    :param read_body: returns the whole body, or 65,537 bytes if it is larger than 64 KiB; raises ``InvalidRequest`` if
        it is not complete.
    :param authorization: the ``Authorization`` header; ``None`` if the request has none.
    :param address: the client's IP address; ``None`` if unknown.
    :param query: the query string, not decoded.
    :param path_parameters: the values of the named parts of the path.
    :param requested_headers: the ``Access-Control-Request-Headers`` header of a preflight request; empty if none.
    """

    method: str
    read_body: Callable[[], bytes]
    content_type: str
    authorization: str | None
    address: str | None
    query: str = ""
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    requested_headers: str = ""


@dataclass(frozen=True, slots=True)
class MachineResponse:
    """An HTTP response of a machine endpoint (one that returns data, not a page); by default with headers for JSON."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = JSON_HEADERS


@dataclass(slots=True)  # not frozen: that would cost 2 us more per request
class Call:
    """The argument of an endpoint's handler: one request, parsed as its ``Endpoint`` specifies.

    :param runtime: the shared objects of the app, such as settings, database and keys.
    :param now: when the request arrived, in seconds since 1970.
    :param parameters: the form in the body of a POST; empty if the endpoint reads JSON or the raw body.
    :param authorization: the ``Authorization`` header; ``None`` if the request has none.
    :param address: the client's IP address; ``None`` if unknown.
    :param query: the query string, not decoded.
    :param json_body: the JSON object in the body, if the endpoint reads JSON; else empty.
    :param path_parameters: the values of the named parts of the path.
    :param body: the body of a POST or PUT request, not decoded; else empty.

    The handler sets what it learns about the caller, for the log: ``claimed_client_id``, the client that the request
    claims to be from; ``client_id``, that of an existing client; ``user``, the ``sub`` of the resource owner.
    """

    runtime: Runtime
    now: float
    parameters: Parameters
    authorization: str | None
    address: str | None
    method: str = "POST"
    query: str = ""
    json_body: Mapping[str, Any] = field(default_factory=dict)
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = ""
    claimed_client_id: str | None = None
    client_id: str | None = None
    user: str | None = None

    def verify_token(self, value: str) -> AccessToken:
        """Verify an access token, remember its client and user for the log, and return it.

        :raises InvalidToken: if the token is not valid.
        """
        token = self.runtime.verifier.verify(value, self.now)
        self.client_id, self.user = token.client_id, token.user_id
        return token


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A machine endpoint: an endpoint of the authorization server that returns data instead of a page.

    :param name: name of the endpoint in logs, in ``WWW-Authenticate`` headers and in the name of its Flask endpoint.
    :param path: path below ``oauth_path``, or an absolute path for well-known URLs.
    :param handler: returns the response; raises an ``OAuthError`` to refuse the request.
    :param methods: the allowed HTTP methods besides OPTIONS; others get a 405 response.
    :param cors: whether scripts of any origin may call the endpoint.
    :param reads_json: whether the body of POST and PUT is a JSON object; otherwise the body of POST is a form.
    :param reads_raw_body: whether the handler reads the body itself.
    :param uses_bearer_token: whether the endpoint is called with an access token, so that its error responses have a
        Bearer challenge (RFC 6750 §3).
    """

    name: str
    path: str
    methods: tuple[str, ...]
    handler: Callable[[Call], MachineResponse]
    cors: bool = False
    reads_json: bool = False
    reads_raw_body: bool = False
    uses_bearer_token: bool = False


def json_response(body: object, *extra_headers: tuple[str, str]) -> MachineResponse:
    """Return a response with status 200, the body as JSON, and headers that forbid caching.

    :param body: any value that ``encode_json`` accepts.
    :param extra_headers: additional headers, as pairs of name and value.
    """
    return MachineResponse(200, encode_json(body), (*JSON_HEADERS, *extra_headers))
