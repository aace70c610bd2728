"""The programs of docs/testing.md, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"


@pytest.fixture
def publisher(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    for name, text in re.findall(r"^```python\n# (\S+)\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(text)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VALETKEY_", "PYTEST_"))}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_what_the_page_shows_passes_and_leaves_nothing(publisher: Path) -> None:
    done = run(publisher, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")

    assert "5 passed" in done.stdout, done.stdout + done.stderr
    assert [path.name for path in publisher.iterdir() if path.suffix != ".py" and path.name != "__pycache__"] == []


def test_it_is_pythons_unittest_too(publisher: Path) -> None:
    done = run(publisher, "unittest", "test_with_unittest.py")

    assert "OK" in done.stderr, done.stderr


def test_a_conftest_may_name_the_plugin_and_import_from_it(publisher: Path) -> None:
    conftest = publisher / "conftest.py"
    conftest.write_text("from valetkey.testing import Clock\n" + conftest.read_text())
    done = run(publisher, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_orders.py")

    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_a_test_that_would_pass_without_the_guard_fails_with_it(publisher: Path) -> None:
    shop = publisher / "shop.py"
    shop.write_text(shop.read_text().replace('"orders:read", limit', "limit"))
    done = run(publisher, "pytest", "-q", "-p", "no:cacheprovider", "test_orders.py")

    assert "test_a_token_without_the_scope_is_refused" in done.stdout
    assert "1 failed, 3 passed" in done.stdout, done.stdout
