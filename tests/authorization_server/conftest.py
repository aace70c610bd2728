"""Fixtures of the authorization server's tests. Every test also checks the log."""

from __future__ import annotations

import pytest

from valetkey.caches.recently_issued import RecentlyIssued


@pytest.fixture(autouse=True)
def _check_log(clean_log: pytest.LogCaptureFixture) -> None:
    """Fail the test if a secret or a traceback is in the log."""


@pytest.fixture(params=["same process", "other process"])
def issuing_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test in the process that issued a code or refresh token, which has it in its cache, and in another."""
    if request.param == "other process":
        monkeypatch.setattr(RecentlyIssued, "pop", lambda *_: None)
