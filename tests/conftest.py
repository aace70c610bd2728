"""What every test may ask for: the real services, each started at most once and only where it is asked for."""

from __future__ import annotations

pytest_plugins = ["tests.services.fixtures"]
