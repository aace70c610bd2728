"""What the benchmark measures beside and with: installed into ``benchmarks/.peers``, and from Debian."""

from __future__ import annotations

import glob
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
RECIPES = HERE / "peers"
PEERS = HERE / ".peers"
NODE = PEERS / "node"
PYTHON = PEERS / "python" / "bin" / "python"
DEBIAN = HERE.parent / "requirements" / "debian.sh"


def install() -> None:
    """Install what is missing, in the versions of the lock files."""
    debian("wrk", "wrk")
    for program in ("taskset", "chrt", "setpriv"):
        debian(program, "util-linux")
    debian("node", "nodejs")
    debian("npm", "npm")
    _install("node-oidc-provider", RECIPES / "package-lock.json", NODE / "lock", _install_node)
    _install(
        "django-oauth-toolkit and Authlib",
        RECIPES / "requirements.lock",
        PEERS / "python/lock",
        _install_python,
    )
    for source in RECIPES.glob("*.mjs"):
        shutil.copy(source, NODE)  # Node looks for packages beside the program


def debian(wanted: str, package: str) -> None:
    """See to it that a program (or a file of this pattern) is there; else install Debian's package."""
    if shutil.which(wanted) or glob.glob(wanted):
        return
    if subprocess.run([DEBIAN, package], check=False).returncode:
        raise SystemExit(1)


def _install(what: str, lock: Path, installed: Path, act: Callable[[], None]) -> None:
    if installed.exists() and installed.read_bytes() == lock.read_bytes():
        return
    print(f"Installing {what} into {PEERS} ...", flush=True)
    act()
    shutil.copy(lock, installed)


def _install_node() -> None:
    NODE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(RECIPES / name, NODE)
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=NODE, check=True)


def _install_python() -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", PYTHON.parents[1]], check=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "-q", "install", "--require-hashes", "--no-deps"]
    subprocess.run([*pip, "-r", str(RECIPES / "requirements.lock")], check=True)
