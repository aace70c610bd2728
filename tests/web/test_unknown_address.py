"""Callers behind a proxy that connects over a Unix socket, where the WSGI server knows no address."""

from __future__ import annotations

import logging

import pytest
from flask import Flask

from tests.support.app import MakeApp
from valetkey.rate_limiting.address import caller_address
from valetkey.web import context
from valetkey.web.context import address_of


@pytest.mark.parametrize("remote", [None, "", "unix:"])
@pytest.mark.parametrize(
    ("forwarded", "proxies", "caller"),
    [
        ("6.6.6.6, 1.1.1.1", ("unix",), "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1, unix:", ("unix",), "1.1.1.1"),
        ("6.6.6.6, 1.1.1.1, 10.0.0.2", ("unix", "10.0.0.0/8"), "1.1.1.1"),
        ("1.1.1.1", ("10.0.0.0/8",), "remote"),
        (None, ("unix",), "remote"),
    ],
)
def test_a_proxy_on_a_unix_socket_is_trusted_only_if_that_is_set(
    remote: str | None, forwarded: str | None, proxies: tuple[str, ...], caller: str
) -> None:
    assert caller_address(remote, forwarded, proxies) == (remote if caller == "remote" else caller)


def test_an_address_is_not_trusted_because_unix_sockets_are() -> None:
    assert caller_address("192.0.2.9", "1.1.1.1", ("unix",)) == "192.0.2.9"


@pytest.mark.parametrize(
    ("proxies", "remedy"), [((), "add 'unix' to trusted_proxies"), (("unix",), "set X-Forwarded-For")]
)
def test_an_unknown_address_is_logged_once(
    proxies: tuple[str, ...],
    remedy: str,
    make_app: MakeApp,
    sqlite_store_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(context, "_is_unknown_address_logged", type(context._is_unknown_address_logged)())
    app: Flask = make_app(sqlite_store_url, trusted_proxies=proxies)
    runtime = app.extensions["valetkey"]
    with caplog.at_level(logging.WARNING, "valetkey"):
        address_of({"REMOTE_ADDR": "192.0.2.1"}, runtime.settings.trusted_proxies)
        assert caplog.messages == []
        address_of({"REMOTE_ADDR": ""}, runtime.settings.trusted_proxies)
        address_of({}, runtime.settings.trusted_proxies)

    assert len(caplog.messages) == 1
    assert remedy in caplog.messages[0]
