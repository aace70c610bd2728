"""Tools for testing an API protected by Valetkey: access tokens without HTTP, a settable clock, a temporary database.

With pytest, put ``pytest_plugins = ["valetkey.testing"]`` into the ``conftest.py`` that has your fixture ``app``. This
provides the fixtures ``mint_token``, ``headers_for`` and ``valetkey_clock``, and a temporary database for each test.
The functions work with other test frameworks too. Apps that are created after this package is imported read no settings
from environment variables. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from valetkey.settings.environment import ignore_environment

from .clock import Clock
from .temporary_store import prepared_store, throw_away_store
from .tokens import headers_for, mint_token

__all__ = ["Clock", "headers_for", "mint_token", "prepared_store", "throw_away_store"]

ignore_environment()  # the developer's shell must neither decide a test nor name a database to write to

pytest_plugins = ["valetkey.testing.fixtures"]
