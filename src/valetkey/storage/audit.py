"""The audit log: who did what, from where, when."""

from __future__ import annotations

from dataclasses import dataclass

from .records import Insert
from .tables import audit


@dataclass(frozen=True, slots=True)
class AuditRow:
    at: float
    event: str
    client_id: str | None = None
    owner: str | None = None
    grant_id: str | None = None
    address: str | None = None
    detail: str | None = None


ADD = Insert(audit, AuditRow)
