"""The benchmarks use functions of Valetkey and of the tests: a renamed one must not be noticed only when they run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT_DIR = Path(__file__).parents[2]


def test_all_modules_of_the_benchmarks_can_be_imported(tmp_path: Path) -> None:
    paths = (PROJECT_DIR / "benchmarks").glob("*.py")
    modules = [f"benchmarks.{path.stem}" for path in paths if not path.stem.startswith("__")]
    assert "benchmarks.people" in modules

    process = subprocess.run(
        [sys.executable, "-c", f"import {', '.join(modules)}"],
        env={
            "PYTHONPATH": f"{PROJECT_DIR}:{PROJECT_DIR / 'src'}",
            "VALETKEY_DATA_DIR": str(tmp_path),
            "ISSUER": "https://issuer.example",  # of remote_app
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 0, process.stderr
