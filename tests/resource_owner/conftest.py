"""Fixtures: every test in this folder also checks the log."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _check_log(clean_log: pytest.LogCaptureFixture) -> None:
    """Fail if the log contains a secret or a traceback."""
