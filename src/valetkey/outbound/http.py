"""HTTP client with SSRF protection: the only one that fetches URLs from users, clients or other servers."""

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
from .tls import UnusableCaFile, make_tls_context

if TYPE_CHECKING:
    from .transport import SafeTransport

_TIMEOUT_S, _MAX_BYTES = 5.0, 65_536
_MAX_FETCHES, _MAX_PER_HOST = 16, 4
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class FetchResponse:
    """HTTP response, of any status, whose body has been read completely."""

    status: int
    headers: Mapping[str, str]  # by lower-case name
    body: bytes
    url: str  # the URL of this response, after redirects
    max_age: int  # seconds for which it may be reused (RFC 9111), a day at most

    def json(self) -> Any:
        """Return the decoded JSON body of a 200 response.

        :raises FetchFailed: if the status is not 200, or the body is not JSON.
        """
        host = urlsplit(self.url).hostname
        if self.status != 200:
            raise FetchFailed(f"{host} responded with status {self.status}")
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as cause:
            raise FetchFailed(f"the response of {host} is not JSON") from cause


class Fetcher:
    """HTTP client that connects only to public addresses and to the networks that the operator allows.

    The constructor does no I/O. Thread-safe.

    :param allowed_networks: networks that may be reached although they are not public, in CIDR notation.
    :param ca_file: PEM file of certificate authorities that are trusted besides those of the operating system; ``None``
        for no others.
    :param clock: returns the current time in seconds, for ``FetchResponse.max_age``.
    :param timeout_s: seconds for a whole request, with name lookup, waiting and redirects included.
    :param lookup: resolves a host name to IP addresses.
    :param max_fetches: maximum number of concurrent requests in this process.
    :param max_per_host: maximum number of concurrent requests to one host.
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
        authorization: str | None = None,
        max_bytes: int = _MAX_BYTES,
        max_redirects: int = 0,
    ) -> FetchResponse:
        """Send a GET request, and return the response with any status.

        :param accept: the ``Accept`` header.
        :param authorization: the ``Authorization`` header, which is not sent after a redirect; ``None`` sends none.
        :param max_bytes: maximum size of the body.
        :param max_redirects: how many redirects to follow; with 0, a redirect is returned like any other response.
        :raises FetchRefused: if the URL, or that of a redirect, is invalid or leads to an address that is not allowed.
        :raises FetchFailed: if there is no response within the time limit and ``max_bytes``, or too many redirects.
        """
        deadline, headers = Deadline.within(self._timeout_s), {"Accept": accept}
        first_headers = headers if authorization is None else {**headers, "Authorization": authorization}
        fetched = self._fetch("GET", url, first_headers, b"", max_bytes, deadline)
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
        """Send form fields in a POST request, and return the response with any status. Redirects are not followed.

        :param data: the form fields by name.
        :param accept: the ``Accept`` header.
        :param authorization: the ``Authorization`` header; ``None`` sends none.
        :param max_bytes: maximum size of the body of the response.
        :raises FetchRefused: if the URL is invalid, or leads to an address that is not allowed.
        :raises FetchFailed: if there is no response within the time limit and ``max_bytes``.
        """
        headers = {"Accept": accept, "Content-Type": "application/x-www-form-urlencoded"}
        if authorization is not None:
            headers["Authorization"] = authorization
        deadline = Deadline.within(self._timeout_s)
        return self._fetch("POST", url, headers, urlencode(data).encode(), max_bytes, deadline)

    @cached_property
    def transport(self) -> SafeTransport:
        """The httpx transport with the same SSRF protection, for an ``httpx.Client`` that another library creates."""
        from .transport import SafeTransport  # imported here: httpx is slow to import, and many apps fetch nothing

        return SafeTransport(self._resolver, self._host_semaphore, self._get_tls_context, self._timeout_s, _MAX_BYTES)

    def _fetch(
        self, method: str, url: str, headers: dict[str, str], content: bytes, max_bytes: int, deadline: Deadline
    ) -> FetchResponse:
        check_url(url)
        import httpx  # imported here for the same reason

        limits = {"deadline": deadline, "max_bytes": max_bytes}
        all_headers = {"User-Agent": "valetkey", **headers}
        try:
            request = httpx.Request(method, url, headers=all_headers, content=content or None, extensions=limits)
        except (httpx.InvalidURL, UnicodeError) as cause:
            raise FetchRefused("the URL cannot be fetched: it is not a URI") from cause
        response = self.transport.handle_request(request)
        status, response_headers = response.status_code, dict(response.headers)
        max_age_s = compute_max_age(status, response_headers, self._clock())
        return FetchResponse(status, response_headers, response.content, url, max_age_s)

    @cached_property
    def _tls_context(self) -> ssl.SSLContext:
        try:
            return make_tls_context(self._ca_file)
        except UnusableCaFile as cause:
            raise FetchFailed(str(cause)) from cause

    def _get_tls_context(self) -> ssl.SSLContext:
        with self._tls_lock:
            return self._tls_context


def _redirect_url(response: FetchResponse) -> str:
    try:
        return urljoin(response.url, response.headers["location"])
    except ValueError as cause:
        raise FetchRefused("the Location of a redirect is not a URI") from cause
