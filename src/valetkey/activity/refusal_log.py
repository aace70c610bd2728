"""Log of requests that got an error response, for the operator."""

from __future__ import annotations

import logging
import re

from valetkey.protocol.errors import OAuthError

_log = logging.getLogger("valetkey")
# Secrets of Valetkey and JWTs are masked, in whichever parameter they were sent by mistake.
_SECRET_PATTERN = re.compile(r"vk_[a-z]{2,3}_\w+|eyJ[\w-]+\.[\w.-]*")


def log_refusal(refusal: OAuthError, reference: str, endpoint: str) -> None:
    """Log one line about a refused request: the error, and the reason that is not sent to the client.

    Valetkey's secrets and JWTs in the message are masked.

    :param refusal: the error that the request is refused with.
    :param reference: id that is also in the response, to find the log line of a response.
    :param endpoint: name of the endpoint, or of the Flask route, that refused the request.
    """
    message = f"{refusal.description} ({refusal.log_detail})" if refusal.log_detail else refusal.description
    _log.info("refused %s at %s: %s [%s]", refusal.error, endpoint, _SECRET_PATTERN.sub("...", message), reference)
