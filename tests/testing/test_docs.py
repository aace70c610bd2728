"""The code examples of docs/testing.md, run as they are printed there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "testing.md"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the files that the page shows."""
    for name, text in re.findall(r"^```python\n# (\S+)\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(text)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VALETKEY_", "PYTEST_"))}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_documented_tests_pass_and_leave_no_files(project: Path) -> None:
    completed = run(project, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")

    assert "5 passed" in completed.stdout, completed.stdout + completed.stderr
    assert [path.name for path in project.iterdir() if path.suffix != ".py" and path.name != "__pycache__"] == []


def test_documented_unittest_example_passes_without_pytest(project: Path) -> None:
    completed = run(project, "unittest", "test_with_unittest.py")

    assert "OK" in completed.stderr, completed.stderr


def test_conftest_can_load_the_plugin_and_import_from_it_without_a_warning(project: Path) -> None:
    conftest = project / "conftest.py"
    conftest.write_text("from valetkey.testing import Clock\n" + conftest.read_text())
    completed = run(project, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_orders.py")

    assert "4 passed" in completed.stdout, completed.stdout + completed.stderr


def test_documented_scope_test_fails_if_the_route_requires_no_scope(project: Path) -> None:
    shop = project / "shop.py"
    shop.write_text(shop.read_text().replace('"orders:read", limit', "limit"))
    completed = run(project, "pytest", "-q", "-p", "no:cacheprovider", "test_orders.py")

    assert "test_a_token_without_the_scope_is_refused" in completed.stdout
    assert "1 failed, 3 passed" in completed.stdout, completed.stdout
