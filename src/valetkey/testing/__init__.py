"""For tests of a protected API: tokens without HTTP, a clock to move, a store to throw away.

``pytest_plugins = ["valetkey.testing"]`` in a ``conftest.py`` with a fixture ``app`` gives the fixtures ``mint_token``,
``headers_for`` and ``valetkey_clock``. The functions are good without pytest too. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from .clock import Clock
from .temporary_store import prepared_store, throw_away_store
from .tokens import headers_for, mint_token

__all__ = ["Clock", "headers_for", "mint_token", "prepared_store", "throw_away_store"]

pytest_plugins = ["valetkey.testing.fixtures"]
