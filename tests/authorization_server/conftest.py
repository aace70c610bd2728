"""Every test of this room also watches the log."""

from __future__ import annotations

import pytest

from valetkey.caches.recently_issued import RecentlyIssued


@pytest.fixture(autouse=True)
def _check_log(quiet_log: pytest.LogCaptureFixture) -> None:
    """No secret and no traceback in the log."""


@pytest.fixture(params=["here", "elsewhere"])
def issued(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that issued a code or a refresh token need not read it again; any other has to."""
    if request.param == "elsewhere":
        monkeypatch.setattr(RecentlyIssued, "pop", lambda *_: None)
