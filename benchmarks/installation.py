"""Install the other servers into ``benchmarks/.peers``, and the programs that measure from Debian."""

from __future__ import annotations

import glob
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
PEER_SOURCES = HERE / "peers"
PEERS = HERE / ".peers"
NODE = PEERS / "node"
PYTHON = PEERS / "python" / "bin" / "python"
DEBIAN = HERE.parent / "requirements" / "debian.sh"


def install() -> None:
    """Install what is missing, in the versions of the lock files."""
    install_debian_package("wrk", "wrk")
    for program in ("taskset", "chrt", "setpriv"):
        install_debian_package(program, "util-linux")
    install_debian_package("node", "nodejs")
    install_debian_package("npm", "npm")
    _install_peer("node-oidc-provider", PEER_SOURCES / "package-lock.json", NODE / "lock", _install_node)
    _install_peer(
        "django-oauth-toolkit and Authlib",
        PEER_SOURCES / "requirements.lock",
        PEERS / "python/lock",
        _install_python,
    )
    # pip compiles what it installs, but not a checkout: without it, each start would compile 290 modules anew.
    subprocess.run([sys.executable, "-m", "compileall", "-q", HERE.parent / "src" / "valetkey"], check=True)
    for source in PEER_SOURCES.glob("*.mjs"):
        shutil.copy(source, NODE)  # Node looks for packages in the folder of the program


def install_debian_package(program: str, package: str) -> None:
    """Install a Debian package, unless its program is installed.

    :param program: name of the program, or a pattern of its path.
    :raises SystemExit: if the package cannot be installed.
    """
    if shutil.which(program) or glob.glob(program):
        return
    if subprocess.run([DEBIAN, package], check=False).returncode:
        raise SystemExit(1)


def _install_peer(name: str, lock_file: Path, installed_lock_file: Path, install_packages: Callable[[], None]) -> None:
    """Install packages, unless the versions in their lock file are installed."""
    if installed_lock_file.exists() and installed_lock_file.read_bytes() == lock_file.read_bytes():
        return
    print(f"Installing {name} into {PEERS} ...", flush=True)
    install_packages()
    shutil.copy(lock_file, installed_lock_file)


def _install_node() -> None:
    NODE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PEER_SOURCES / name, NODE)
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=NODE, check=True)


def _install_python() -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", PYTHON.parents[1]], check=True)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "-q", "install", "--require-hashes", "--no-deps"]
    subprocess.run([*pip, "-r", str(PEER_SOURCES / "requirements.lock")], check=True)
