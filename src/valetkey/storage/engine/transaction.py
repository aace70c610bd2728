"""One write: the claim to win, the rows if it is won, the rows if it is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .statement import BoundStatement


class StoreUnavailable(Exception):
    """The store cannot be read or written now; nothing was half-written."""

    retry_after = 2  # seconds


class StoreBusy(StoreUnavailable):
    """Others hold what is needed, longer than anybody was ready to wait; nothing was written, for sure."""


class StoreTimeout(StoreUnavailable):
    """The server took the question and did not answer in time: asked again at once it would be as silent."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a use case hands to the store, to be run in one short transaction.

    ``claim`` is a conditional statement that must touch exactly one row: it says who won. Where it does, ``rows``
    follow, else ``otherwise``; either way the transaction is committed, since a refusal's rows must last too.
    """

    condition: BoundStatement | None = None
    rows: tuple[BoundStatement, ...] = ()
    else_rows: tuple[BoundStatement, ...] = ()
