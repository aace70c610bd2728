"""Every test of this room also watches the log."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _check_log(quiet_log: pytest.LogCaptureFixture) -> None:
    """No secret and no traceback in the log."""
