"""The HTTP client with servers that behave correctly."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.outbound.fetcher import LOOPBACK_NETWORKS, MakeFetcher
from tests.support.hostile_server import StartHostileServer, create_server_certificate, redirect_to, respond_with
from valetkey.outbound.errors import FetchFailed, FetchRefused
from valetkey.outbound.http import Fetcher, FetchResponse


def test_a_response_has_status_body_headers_url_and_max_age(
    fetcher: Fetcher, start_hostile_server: StartHostileServer
) -> None:
    server = start_hostile_server(
        respond_with(b'{"a": 1}', Content_Type="application/json", Cache_Control="max-age=60")
    )
    fetched = fetcher.get(server.url("/here?x=1"))
    assert fetched.status == 200
    assert fetched.json() == {"a": 1}
    assert fetched.headers["content-type"] == "application/json"
    assert fetched.url == server.url("/here?x=1")
    assert fetched.max_age == 60


def test_only_the_necessary_headers_are_sent(
    fetcher: Fetcher, start_hostile_server: StartHostileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proxies of the environment, .netrc and cookies of an earlier response are not used."""
    server = start_hostile_server(respond_with(Set_Cookie="a=b"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password violet")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    for _ in range(2):
        fetcher.get(server.url("/here"), accept="text/plain")
    lines = server.requests[1].decode().lower().split("\r\n")
    assert lines[0] == "get /here http/1.1"
    assert sorted(line for line in lines[1:] if line) == [
        "accept-encoding: identity",
        "accept: text/plain",
        "connection: close",
        f"host: 127.0.0.1:{server.port}",
        "user-agent: valetkey",
    ]


def test_a_form_is_posted_and_its_redirect_is_not_followed(
    fetcher: Fetcher, start_hostile_server: StartHostileServer
) -> None:
    other = start_hostile_server(respond_with())
    server = start_hostile_server(redirect_to(other.url(), "307 Temporary Redirect"))
    fetched = fetcher.post_form(server.url("/logout"), {"logout_token": "a b"})
    assert fetched.status == 307
    assert server.requests[0].endswith(b"\r\n\r\nlogout_token=a+b")
    assert b"content-type: application/x-www-form-urlencoded" in server.requests[0].lower()
    assert other.requests == []


def test_redirects_are_followed_only_if_requested(fetcher: Fetcher, start_hostile_server: StartHostileServer) -> None:
    target = start_hostile_server(respond_with(b'"end"'))
    server = start_hostile_server(redirect_to(target.url("/end")))
    fetched = fetcher.get(server.url(), max_redirects=1)
    assert (fetched.json(), fetched.url) == ("end", target.url("/end"))
    assert fetcher.get(server.url()).status == 302


def test_a_host_name_on_loopback_can_be_fetched(fetcher: Fetcher, start_hostile_server: StartHostileServer) -> None:
    server = start_hostile_server(respond_with())
    assert fetcher.get(server.url(host="localhost")).status == 200


def test_the_next_address_is_tried_if_the_first_does_not_respond(
    make_fetcher: MakeFetcher, start_hostile_server: StartHostileServer
) -> None:
    server = start_hostile_server(respond_with(), "127.0.0.3")
    fetcher = make_fetcher(*LOOPBACK_NETWORKS, lookup=lambda host, port: ["127.0.0.2", "127.0.0.3"])
    assert fetcher.get(server.url(host="shop.example")).status == 200


def test_a_certificate_issued_by_an_authority_in_outbound_ca_file_is_trusted(
    make_fetcher: MakeFetcher, start_hostile_server: StartHostileServer, tmp_path: Path
) -> None:
    tls, authority = create_server_certificate(tmp_path, ["shop.example"])
    server = start_hostile_server(respond_with(), tls=tls)
    fetcher = make_fetcher(*LOOPBACK_NETWORKS, ca_file=str(authority), lookup=lambda host, port: ["127.0.0.1"])
    assert fetcher.get(server.url(host="shop.example")).status == 200
    assert server.sni_names == ["shop.example"]
    assert f"host: shop.example:{server.port}".encode() in server.requests[0].lower()


def test_a_certificate_for_an_ip_address_is_accepted(
    make_fetcher: MakeFetcher, start_hostile_server: StartHostileServer, tmp_path: Path
) -> None:
    tls, authority = create_server_certificate(tmp_path, ["127.0.0.1"])
    server = start_hostile_server(respond_with(), tls=tls)
    assert make_fetcher(*LOOPBACK_NETWORKS, ca_file=str(authority)).get(server.url()).status == 200


def test_another_httpx_client_can_use_the_transport(fetcher: Fetcher, start_hostile_server: StartHostileServer) -> None:
    server = start_hostile_server(respond_with(b'{"a": 1}'))
    with httpx.Client(transport=fetcher.transport, trust_env=False) as client:
        assert client.get(server.url()).json() == {"a": 1}
        with pytest.raises(FetchRefused):
            client.get("https://10.0.0.1/")


@pytest.mark.parametrize(
    ("status", "body"), [(404, b"{}"), (302, b"{}"), (200, b"<html>"), (200, b"\xff"), (200, b"[" * 60_000)]
)
def test_json_fails_unless_the_status_is_200_and_the_body_is_json(status: int, body: bytes) -> None:
    with pytest.raises(FetchFailed):
        FetchResponse(status, {}, body, "https://shop.example/", 0).json()
