"""The guarded HTTP client: the only way to an address that input names."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

from .errors import FetchFailed, FetchRefused
from .fetch_limits import Deadline, HostSemaphore
from .freshness import compute_max_age
from .safe_resolver import Lookup, SafeResolver, check_url, system_lookup

if TYPE_CHECKING:
    from .transport import SafeTransport

_TIMEOUT_S, _MAX_BYTES = 5.0, 65_536
_MAX_FETCHES, _MAX_PER_HOST = 16, 4
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class FetchResponse:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]  # by lower-case name
    body: bytes
    url: str  # the last, after redirects
    max_age: int  # seconds for which it may be used again (RFC 9111), a day at most

    def json(self) -> Any:
        """The JSON of a 200.

        :raises FetchFailed: where the status is another, or the body is no JSON.
        """
        host = urlsplit(self.url).hostname
        if self.status != 200:
            raise FetchFailed(f"{host} answered {self.status}")
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as cause:
            raise FetchFailed(f"{host} did not answer with JSON") from cause


class Fetcher:
    """Fetches from public addresses, and from those that the operator allows. Making one does no I/O.

    :param allowed_networks: networks that may be asked although they are not public.
    :param ca_file: PEM file of authorities trusted besides the system's.
    :param clock: the time by which answers expire.
    :param seconds: what a fetch may take by the wall clock, redirects, lookup and waiting included.
    :param lookup: what finds the addresses of a name.
    """

    def __init__(
        self,
        allowed_networks: Iterable[str],
        ca_file: str | None,
        clock: Callable[[], float],
        *,
        timeout_s: float = _TIMEOUT_S,
        lookup: Lookup = system_lookup,
        max_fetches: int = _MAX_FETCHES,
        max_per_host: int = _MAX_PER_HOST,
    ) -> None:
        self._resolver = SafeResolver(allowed_networks, lookup)
        self._host_semaphore = HostSemaphore(max_fetches, max_per_host)
        self._ca_file = ca_file
        self._clock = clock
        self._timeout_s = timeout_s
        self._tls_lock = threading.Lock()

    def get(
        self,
        url: str,
        *,
        accept: str = "application/json",
        max_bytes: int = _MAX_BYTES,
        max_redirects: int = 0,
    ) -> FetchResponse:
        """GET; redirects are followed where ``max_redirects`` says how many, and are answers where it is 0.

        :raises FetchRefused: where the guard refuses the URL, or that of a redirect.
        :raises FetchFailed: where there is no answer within the deadline and ``max_bytes``.
        """
        deadline, headers = Deadline.within(self._timeout_s), {"Accept": accept}
        fetched = self._fetch("GET", url, headers, b"", max_bytes, deadline)
        for _ in range(max_redirects):
            if fetched.status not in _REDIRECT_STATUSES or "location" not in fetched.headers:
                return fetched
            fetched = self._fetch("GET", _redirect_url(fetched), headers, b"", max_bytes, deadline)
        if max_redirects and fetched.status in _REDIRECT_STATUSES:
            raise FetchFailed(f"{urlsplit(url).hostname} redirects more than {max_redirects} times")
        return fetched

    def post_form(
        self,
        url: str,
        data: Mapping[str, str],
        *,
        accept: str = "*/*",
        authorization: str | None = None,
        max_bytes: int = _MAX_BYTES,
    ) -> FetchResponse:
        """POST a form; a redirect is an answer like any other, and is not followed.

        :param authorization: the credentials that the other side asks for.
        :raises FetchProblem: as for ``get``.
        """
        headers = {"Accept": accept, "Content-Type": "application/x-www-form-urlencoded"}
        if authorization is not None:
            headers["Authorization"] = authorization
        deadline = Deadline.within(self._timeout_s)
        return self._fetch("POST", url, headers, urlencode(data).encode(), max_bytes, deadline)

    @cached_property
    def transport(self) -> SafeTransport:
        """The same guard and bounds for an ``httpx.Client`` of another's making."""
        from .transport import SafeTransport  # here: httpx is slow to import, and many apps fetch nothing

        return SafeTransport(self._resolver, self._host_semaphore, self._get_tls_context, self._timeout_s, _MAX_BYTES)

    def _fetch(
        self, method: str, url: str, headers: dict[str, str], content: bytes, max_bytes: int, deadline: Deadline
    ) -> FetchResponse:
        check_url(url)
        import httpx  # here for the same reason

        bounds = {"deadline": deadline, "max_bytes": max_bytes}
        named = {"User-Agent": "valetkey", **headers}
        try:
            request = httpx.Request(method, url, headers=named, content=content or None, extensions=bounds)
        except (httpx.InvalidURL, UnicodeError) as cause:
            raise FetchRefused("the URL cannot be fetched: it is not a URI") from cause
        answer = self.transport.handle_request(request)
        got = dict(answer.headers)
        return FetchResponse(
            answer.status_code, got, answer.content, url, compute_max_age(answer.status_code, got, self._clock())
        )

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca_file:
            try:
                context.load_verify_locations(self._ca_file)
            except OSError as cause:  # ssl.SSLError is one
                raise FetchFailed("outbound_ca_file holds no certificates in PEM") from cause
        return context

    def _get_tls_context(self) -> ssl.SSLContext:
        with self._tls_lock:
            return self._tls_context


def _redirect_url(response: FetchResponse) -> str:
    try:
        return urljoin(response.url, response.headers["location"])
    except ValueError as cause:
        raise FetchRefused("a redirect leads to what is not a URI") from cause
