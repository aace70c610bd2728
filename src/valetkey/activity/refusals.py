"""What the operator reads of a refusal."""

from __future__ import annotations

import logging

from valetkey.protocol.errors import OAuthError

_log = logging.getLogger("valetkey")


def log_refusal(refusal: OAuthError, reference: str, where: str) -> None:
    """One line for the operator; the client sees only the description."""
    _log.info(
        "refused %s at %s: %s%s [%s]",
        refusal.error,
        where,
        refusal.description,
        f" ({refusal.detail})" if refusal.detail else "",
        reference,
    )
