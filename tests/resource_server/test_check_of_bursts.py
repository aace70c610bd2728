"""``valetkey check`` names limits that admit few calls at once, because their default burst is a tenth."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support.app import MakeApp
from valetkey import require_oauth
from valetkey.cli.app_checks import small_bursts


@pytest.mark.parametrize(
    ("limit", "is_named"),
    [("60/minute", True), ("100/minute", False), ("60/minute burst 5", False), ({"free": "20/minute"}, True)],
)
def test_a_small_default_burst_of_a_route_is_named(
    make_app: MakeApp, sqlite_store_url: str, limit: str | dict[str, str], is_named: bool
) -> None:
    plans = {"free": {"limit": "1000/minute"}}
    app: Flask = make_app(sqlite_store_url, plans=plans, default_plan="free")
    app.add_url_rule("/api/slow", "slow", require_oauth("profile", limit=limit)(lambda: ""))

    advice = [text for text in small_bursts(app, app.extensions["valetkey"].settings) if "/api/slow" in text]

    assert ["burst 10" in text for text in advice] == ([True] if is_named else [])


def test_a_small_default_burst_of_a_plan_is_named(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, plans={"free": {"limit": "60/minute"}}, default_plan="free")

    advice = list(small_bursts(app, app.extensions["valetkey"].settings))

    assert any(
        "'60/minute' of the plan free admits 6 calls at once, a tenth of it: if more may come, write" in text
        for text in advice
    )
