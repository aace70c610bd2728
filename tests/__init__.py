"""The tests. What several folders share is in ``support/``; fixtures of all folders are in ``conftest.py``."""

import pytest

pytest.register_assert_rewrite("tests.support")  # failed assertions of helpers show their values, too
