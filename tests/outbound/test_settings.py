"""Settings for outbound requests, checked at start."""

from __future__ import annotations

import pytest

from valetkey.settings import Settings, SettingsError
from valetkey.settings.sources import read_settings


def test_loopback_addresses_may_be_fetched_only_if_the_issuer_is_on_loopback() -> None:
    assert Settings(issuer="http://127.0.0.1:8000").outbound_networks == ("127.0.0.0/8", "::1/128")
    assert Settings(issuer="https://auth.example").outbound_networks == ()


def test_only_the_networks_of_outbound_allowed_networks_are_allowed() -> None:
    settings = read_settings(("", {"outbound_allowed_networks": "10.0.0.0/8, fd00::/8"}))
    assert settings.outbound_networks == ("10.0.0.0/8", "fd00::/8")


def test_an_invalid_network_and_a_missing_ca_file_are_errors() -> None:
    with pytest.raises(SettingsError) as error:
        Settings(outbound_allowed_networks=("10.0.0.1/8",), outbound_ca_file="/nowhere/ca.pem")
    assert str(error.value).splitlines() == [
        "outbound_allowed_networks: '10.0.0.1/8' is not a network like 10.0.0.0/8",
        "outbound_ca_file: there is no file '/nowhere/ca.pem'",
    ]
