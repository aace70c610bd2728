"""What the operator reads of a refusal."""

from __future__ import annotations

import logging
import re

from valetkey.protocol.errors import OAuthError

_log = logging.getLogger("valetkey")
_SECRET_PATTERN = re.compile(r"vk_[a-z]{2,3}_\w+|eyJ[\w-]+\.[\w.-]*")  # whatever parameter it was sent in by mistake


def log_refusal(refusal: OAuthError, reference: str, endpoint: str) -> None:
    """One line for the operator; the client sees only the description."""
    told = f"{refusal.description} ({refusal.log_detail})" if refusal.log_detail else refusal.description
    _log.info("refused %s at %s: %s [%s]", refusal.error, endpoint, _SECRET_PATTERN.sub("...", told), reference)
