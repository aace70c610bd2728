"""Under which issuer a data directory was served last, so that later commands need not be told."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_FILE_NAME = "issuer"


def find_served_issuer(data_dir: str | None) -> str | None:
    """The issuer that was served last from this folder; from ``VALETKEY_DATA_DIR`` or ``var`` where it is not named."""
    try:
        return _issuer_file(data_dir or os.environ.get("VALETKEY_DATA_DIR") or "var").read_text().strip() or None
    except (OSError, ValueError):
        return None


def save_served_issuer(data_dir: str, issuer: str) -> None:
    """Note it; where there is no such folder, or it cannot be written, nothing is noted."""
    if Path(data_dir).is_dir():
        with contextlib.suppress(OSError):
            _issuer_file(data_dir).write_text(issuer + "\n")


def _issuer_file(data_dir: str) -> Path:
    return Path(data_dir) / _FILE_NAME
