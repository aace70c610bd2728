"""Change nothing. Databases that were created while this revision was empty have its number: 0004 changes them too."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    pass
