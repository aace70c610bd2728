"""The installed package has the files of the tree, and no others."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.journeys.checkout import PROJECT_DIR


def test_a_wheel_has_the_files_of_the_tree_and_none_of_an_earlier_build(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(PROJECT_DIR / "src", tree / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(PROJECT_DIR / name, tree)
    removed = tree / "src" / "valetkey" / "storage" / "migrations" / "versions" / "9999_removed.py"

    removed.touch()
    assert str(removed.relative_to(tree / "src")) in build_wheel(tree)
    removed.unlink()

    files = {str(path.relative_to(tree / "src")) for path in tree.glob("src/valetkey/**/*") if path.is_file()}
    assert {name for name in build_wheel(tree) if ".dist-info/" not in name} == files
    assert {"valetkey/py.typed", "valetkey/web/templates/valetkey/layout.html"} <= files


def build_wheel(tree: Path) -> set[str]:
    """Build a wheel of the tree as ``pip install .`` does, and return the names of its files."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "..", "."]
    subprocess.run(command, cwd=tree, check=True)
    (wheel,) = tree.parent.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())
