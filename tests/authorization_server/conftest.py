"""Fixtures of the authorization server's tests. Every test also checks the log."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _check_log(clean_log: pytest.LogCaptureFixture) -> None:
    """Fail the test if a secret or a traceback is in the log."""
