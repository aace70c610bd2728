"""Settings of the fetcher under test."""

from __future__ import annotations

from collections.abc import Callable

from valetkey.outbound.http import Fetcher

TIMEOUT_S = 0.5
LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")

MakeFetcher = Callable[..., Fetcher]  # the fixture make_fetcher: (*allowed_networks, ca_file=None, **options)
