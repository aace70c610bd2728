"""Store the issuer that ``valetkey serve`` used last, in the data directory: the default issuer of later commands."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from valetkey.storage.engine.files import write_private_file

_FILE_NAME = "issuer"


def find_served_issuer(data_dir: str | None) -> str | None:
    """Return the issuer with which ``valetkey serve`` last used a data directory; ``None`` if it never did.

    :param data_dir: the directory; if ``None``, that of ``VALETKEY_DATA_DIR`` or else ``var``.
    """
    try:
        return _issuer_file(data_dir or os.environ.get("VALETKEY_DATA_DIR") or "var").read_text().strip() or None
    except (OSError, ValueError):
        return None


def save_served_issuer(data_dir: str, issuer: str) -> None:
    """Store the issuer in a data directory, as the default issuer of later commands.

    Do nothing if the directory does not exist or is not writable.
    """
    if Path(data_dir).is_dir():
        with contextlib.suppress(OSError):
            write_private_file(_issuer_file(data_dir), f"{issuer}\n".encode())


def _issuer_file(data_dir: str) -> Path:
    return Path(data_dir) / _FILE_NAME
