"""A hostile server costs a fetch a limited time, and gets no access to internal addresses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.outbound.fetcher import LOOPBACK_NETWORKS, TIMEOUT_S, MakeFetcher
from tests.support.hostile_server import (
    Behaviour,
    StartHostileServer,
    create_server_certificate,
    drip,
    flood,
    gzip_bomb,
    never_respond,
    redirect_to,
    respond_after,
    respond_with,
)
from valetkey.outbound.errors import FetchFailed, FetchRefused
from valetkey.outbound.fetch_limits import Deadline, HostSemaphore
from valetkey.outbound.http import Fetcher

InTime = Callable[[], AbstractContextManager[None]]
OK = b"HTTP/1.1 200 OK\r\n"

DRIPS: dict[str, Behaviour] = {
    "nothing": never_respond,
    "status line": drip(b"", b"H"),
    "headers": drip(OK, b"A: b\r\n"),
    "one header": drip(OK + b"A: ", b"b"),
    "informational responses": drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": drip(OK + b"Content-Length: 60000\r\n\r\n", b"x"),
    "body without end": drip(OK + b"\r\n", b"x"),
    "chunks": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "trailers": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"A: b\r\n"),
}


@pytest.mark.parametrize("behaviour", DRIPS.values(), ids=DRIPS)
def test_a_fetch_from_a_slow_server_ends_at_the_deadline(
    fetcher: Fetcher, start_hostile_server: StartHostileServer, assert_in_time: InTime, behaviour: Behaviour
) -> None:
    server = start_hostile_server(behaviour)
    with assert_in_time(), pytest.raises(FetchFailed, match=r"^127.0.0.1 did not respond within 0.5 seconds$"):
        fetcher.get(server.url("/?secret=violet"))


MEGABYTE = b"x" * 1_000_000
FLOODS: dict[str, Behaviour] = {
    "10 MB, announced": flood(OK + b"Content-Length: 10000000\r\n\r\n", MEGABYTE, 10),
    "10 MB, announced but not sent": drip(OK + b"Content-Length: 10000000\r\n\r\n", b""),
    "10 MB, without end": flood(OK + b"\r\n", MEGABYTE, 10),
    "10 MB in chunks": flood(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"F4240\r\n" + MEGABYTE + b"\r\n", 10),
    "chunk extensions": flood(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 4000 + b"\r\nx\r\n", 2500),
    "headers": flood(OK, b"A: " + b"b" * 1000 + b"\r\n", 10_000),
    "one header": flood(OK + b"A: ", MEGABYTE, 10),
    "a few headers too many": respond_with(b"{}", A="b" * 40_000),
    "informational responses": flood(b"", b"HTTP/1.1 103 Early Hints\r\nA: " + b"b" * 4000 + b"\r\n\r\n", 1_000_000),
    "not HTTP": flood(b"", b"SSH-2.0\r\n", 1),
    "negative length": respond_with(b"{}", Content_Length="-1"),
    "two lengths": flood(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", b"", 1),
    "truncated body": flood(OK + b"Content-Length: 100\r\n\r\n", b"x", 1),
    "gzip bomb": respond_with(gzip_bomb(50), Content_Encoding="gzip"),
    "nested gzip bomb": respond_with(gzip_bomb(1), Content_Encoding="gzip, gzip"),
    "unknown content coding": respond_with(b"{}", Content_Encoding="violet"),
}


@pytest.mark.parametrize("behaviour", FLOODS.values(), ids=FLOODS)
def test_a_response_that_is_too_large_or_invalid_is_not_read_to_its_end(
    fetcher: Fetcher, start_hostile_server: StartHostileServer, assert_in_time: InTime, behaviour: Behaviour
) -> None:
    server = start_hostile_server(behaviour)
    with assert_in_time(), pytest.raises(FetchFailed, match=r"^the (response of|connection to) 127.0.0.1 ") as failed:
        fetcher.get(server.url("/?secret=violet"))
    assert "violet" not in str(failed.value)


def test_a_body_may_have_exactly_max_bytes_and_not_one_more(
    fetcher: Fetcher, start_hostile_server: StartHostileServer
) -> None:
    server = start_hostile_server(flood(OK + b"\r\n", b"x" * 1000, 1))
    assert len(fetcher.get(server.url(), max_bytes=1000).body) == 1000
    with pytest.raises(FetchFailed, match="more than 999 bytes"):
        fetcher.get(server.url(), max_bytes=999)


def test_a_redirect_to_an_address_that_is_not_allowed_is_refused(
    make_fetcher: MakeFetcher, start_hostile_server: StartHostileServer, assert_in_time: InTime
) -> None:
    internal = start_hostile_server(respond_with(b"confidential"))
    for target in (internal.url(), f"http://localhost:{internal.port}/", f"http://[::ffff:127.0.0.1]:{internal.port}/"):
        external = start_hostile_server(redirect_to(target), "127.0.0.2")
        with assert_in_time(), pytest.raises(FetchRefused):
            make_fetcher("127.0.0.2/32").get(external.url(), max_redirects=3)
    assert internal.requests == []


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "http://a@127.0.0.1/", "//[/", "/#a"]
)
def test_a_redirect_to_an_invalid_url_or_another_scheme_is_refused(
    fetcher: Fetcher, start_hostile_server: StartHostileServer, target: str
) -> None:
    with pytest.raises(FetchRefused):
        fetcher.get(start_hostile_server(redirect_to(target)).url(), max_redirects=3)


def test_a_redirect_loop_ends_after_max_redirects(
    fetcher: Fetcher, start_hostile_server: StartHostileServer, assert_in_time: InTime
) -> None:
    server = start_hostile_server(redirect_to("/again"))
    with assert_in_time(), pytest.raises(FetchFailed, match="redirects more than 3 times"):
        fetcher.get(server.url(), max_redirects=3)
    assert len(server.requests) == 4


def test_redirects_share_one_deadline(
    fetcher: Fetcher, start_hostile_server: StartHostileServer, assert_in_time: InTime
) -> None:
    def behave(server: object, connection: object) -> None:
        time.sleep(0.2)
        redirect_to("/again")(server, connection)  # type: ignore[arg-type]  # passed on with their real types

    server = start_hostile_server(behave)
    with assert_in_time(), pytest.raises(FetchFailed, match="did not respond within"):
        fetcher.get(server.url(), max_redirects=50)


def test_the_body_of_a_redirect_is_limited_too(
    fetcher: Fetcher, start_hostile_server: StartHostileServer, assert_in_time: InTime
) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n"
    server = start_hostile_server(flood(head, MEGABYTE, 10))
    with assert_in_time(), pytest.raises(FetchFailed):
        fetcher.get(server.url(), max_redirects=3)


def test_a_host_name_is_resolved_once_for_a_fetch(
    make_fetcher: MakeFetcher, start_hostile_server: StartHostileServer
) -> None:
    """The connection is made to the address that was checked, even if the name changes its address (DNS rebinding)."""
    internal = start_hostile_server(respond_with(b"confidential"), "127.0.0.1")
    lookups: list[str] = []

    def lookup(host: str, port: int) -> list[str]:
        lookups.append(host)
        return ["127.0.0.2"] if len(lookups) == 1 else ["127.0.0.1"]

    fetcher = make_fetcher("127.0.0.2/32", lookup=lookup)
    with pytest.raises(FetchFailed):  # nothing listens at 127.0.0.2, and no other address is tried
        fetcher.get(internal.url(host="shop.example"))
    assert lookups == ["shop.example"]
    with pytest.raises(FetchRefused):
        fetcher.get(internal.url(host="shop.example"))
    assert internal.requests == []


def test_only_the_permitted_addresses_of_a_host_are_tried(
    make_fetcher: MakeFetcher, start_hostile_server: StartHostileServer
) -> None:
    internal = start_hostile_server(respond_with(b"confidential"), "127.0.0.1")
    fetcher = make_fetcher("127.0.0.2/32", lookup=lambda host, port: ["127.0.0.1", "127.0.0.2", "::1"])
    with pytest.raises(FetchFailed):
        fetcher.get(internal.url(host="shop.example"))
    assert internal.requests == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "[::ffff:7f00:1]", "[::1]", "0"]
)
def test_every_spelling_of_loopback_is_refused_in_production(
    make_fetcher: MakeFetcher, start_hostile_server: StartHostileServer, host: str
) -> None:
    server = start_hostile_server(respond_with(b"confidential"))
    for scheme in ("http", "https"):
        with pytest.raises(
            (FetchRefused, FetchFailed), match=r"has no public address|has no address|is not a URI"
        ) as failed:
            make_fetcher().get(f"{scheme}://{host}:{server.port}/?secret=violet")
        assert "violet" not in str(failed.value)
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "shop.example",
        "/path",
        "",
        "https://",
        "https:///path",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "https://ada:violet@shop.example/",
        "https://@shop.example/",
        "https://shop.example/#fragment",
        "https://shop.example/#",
        "https://shop.example\\@127.0.0.1/",
        "https://shop.example/a b",
        "https://shop.example/a\r\nHost: b",
        "https://shop.example:0/",
        "https://shop.example:99999/",
        "https://shöp.example/",
        "https://[::1/",
        "https://xn--/",
        "https://xn--a-ecp.ru/",
        "https://shop.example/" + "a" * 2000,
    ],
)
def test_an_invalid_url_is_refused_before_any_lookup(make_fetcher: MakeFetcher, url: str) -> None:
    lookups: list[str] = []

    def lookup(host: str, port: int) -> list[str]:
        lookups.append(host)
        return []

    fetcher = make_fetcher(*LOOPBACK_NETWORKS, lookup=lookup)
    with pytest.raises(FetchRefused) as refused:
        fetcher.get(url)
    assert lookups == []
    assert "violet" not in str(refused.value)


@pytest.mark.parametrize("address", ["8.8.8.8", "10.0.0.1"])
def test_http_without_tls_is_for_loopback_only(make_fetcher: MakeFetcher, address: str) -> None:
    fetcher = make_fetcher("127.0.0.0/8", "10.0.0.0/8", lookup=lambda host, port: [address])
    with pytest.raises(FetchRefused, match="not https"):
        fetcher.get("http://shop.example/")


def test_a_certificate_of_an_unknown_authority_is_refused(
    fetcher: Fetcher, start_hostile_server: StartHostileServer, tmp_path: Path
) -> None:
    tls, _ = create_server_certificate(tmp_path, ["127.0.0.1"])
    server = start_hostile_server(respond_with(), tls=tls)
    with pytest.raises(FetchFailed, match=r"the certificate of 127.0.0.1 is not trusted"):
        fetcher.get(server.url())
    assert server.requests == []


def test_a_certificate_for_another_name_is_refused(
    make_fetcher: MakeFetcher, start_hostile_server: StartHostileServer, tmp_path: Path
) -> None:
    tls, authority = create_server_certificate(tmp_path, ["other.example", "127.0.0.1"])
    server = start_hostile_server(respond_with(), tls=tls)
    fetcher = make_fetcher(*LOOPBACK_NETWORKS, ca_file=str(authority), lookup=lambda host, port: ["127.0.0.1"])
    with pytest.raises(FetchFailed, match=r"the certificate of shop.example is not trusted"):
        fetcher.get(server.url(host="shop.example"))
    assert server.requests == []


def test_a_tls_handshake_that_never_ends_ends_at_the_deadline(
    fetcher: Fetcher, start_hostile_server: StartHostileServer, assert_in_time: InTime
) -> None:
    server = start_hostile_server(never_respond)
    with assert_in_time(), pytest.raises(FetchFailed, match="did not respond within"):
        fetcher.get(f"https://127.0.0.1:{server.port}/")


def test_a_ca_file_without_certificates_is_a_failed_fetch(make_fetcher: MakeFetcher, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(FetchFailed, match="outbound_ca_file"):
        make_fetcher(*LOOPBACK_NETWORKS, ca_file=str(tmp_path / "empty.pem")).get("https://127.0.0.1:1/")


def test_a_lookup_that_hangs_ends_at_the_deadline(make_fetcher: MakeFetcher, assert_in_time: InTime) -> None:
    finish = threading.Event()
    fetcher = make_fetcher(*LOOPBACK_NETWORKS, lookup=lambda host, port: ["127.0.0.1"] if finish.wait(5) else [])
    with assert_in_time(), pytest.raises(FetchFailed, match="did not respond within"):
        fetcher.get("https://shop.example/")
    finish.set()


def test_a_name_without_address_is_a_failed_fetch(make_fetcher: MakeFetcher) -> None:
    with pytest.raises(FetchFailed, match="has no address"):
        make_fetcher(timeout_s=5).get("https://shop.invalid/")


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "shop..example"])
def test_an_invalid_host_name_is_not_looked_up(make_fetcher: MakeFetcher, name: str) -> None:
    with pytest.raises(FetchRefused, match="its host has an empty part, or one of more than 63 characters"):
        make_fetcher(timeout_s=5).get(f"https://{name}/")


def test_concurrent_fetches_from_one_host_are_limited_and_do_not_delay_those_from_others(
    make_fetcher: MakeFetcher, start_hostile_server: StartHostileServer
) -> None:
    respond = threading.Event()
    slow, quick = start_hostile_server(respond_after(respond), "127.0.0.2"), start_hostile_server(respond_with())
    fetcher = make_fetcher(*LOOPBACK_NETWORKS, max_per_host=2, timeout_s=5)
    with ThreadPoolExecutor(6) as pool:
        fetches = [pool.submit(fetcher.get, slow.url()) for _ in range(6)]
        assert [fetcher.get(quick.url()).status for _ in range(20)] == [200] * 20
        _wait_until(lambda: len(slow.requests) == 2)
        assert not any(fetch.done() for fetch in fetches)
        respond.set()
        assert [fetch.result().status for fetch in fetches] == [200] * 6


def test_concurrent_fetches_of_the_process_are_limited(
    make_fetcher: MakeFetcher, start_hostile_server: StartHostileServer
) -> None:
    respond = threading.Event()
    servers = [start_hostile_server(respond_after(respond), f"127.0.0.{number}") for number in range(2, 6)]
    fetcher = make_fetcher(*LOOPBACK_NETWORKS, max_fetches=3, timeout_s=5)
    with ThreadPoolExecutor(4) as pool:
        fetches = [pool.submit(fetcher.get, server.url()) for server in servers]
        _wait_until(lambda: sum(len(server.requests) for server in servers) == 3)
        time.sleep(0.1)
        assert sum(len(server.requests) for server in servers) == 3
        respond.set()
        assert [fetch.result().status for fetch in fetches] == [200] * 4


def test_a_fetch_that_cannot_begin_before_the_deadline_fails(assert_in_time: InTime) -> None:
    semaphore = HostSemaphore(max_fetches=2, max_per_host=1)
    with semaphore.acquire("shop.example", Deadline.within(5)), assert_in_time():
        with semaphore.acquire("other.example", Deadline.within(5)):
            pass
        with (
            pytest.raises(FetchFailed, match="too many requests are in progress to send one to shop"),
            semaphore.acquire("shop.example", Deadline.within(TIMEOUT_S)),
        ):
            pass
    with semaphore.acquire("shop.example", Deadline.within(TIMEOUT_S)):
        pass


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = Deadline.within(5)
    while not condition():
        deadline.remaining_s()
        time.sleep(0.01)
