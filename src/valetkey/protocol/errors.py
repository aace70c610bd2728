"""OAuth error responses: one exception class per registered error code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class OAuthError(Exception):
    """Base class of exceptions that become an OAuth error response to the client.

    ``error`` is the registered error code and ``status`` the HTTP status.

    :param description: the ``error_description`` for the client (RFC 6749 §5.2: printable ASCII).
    :param log_detail: details for the log, which the client never sees; ``None`` if there are none.
    :param retry_after: seconds after which the client may try again; 0 if unknown.
    :param challenge_parameters: further parameters of the WWW-Authenticate header, for endpoints that programs call
        (RFC 6750 §3, RFC 9470 §3).
    """

    error: ClassVar[str]
    status: ClassVar[int] = 400

    def __init__(
        self,
        description: str,
        *,
        log_detail: str | None = None,
        retry_after: float = 0,
        challenge_parameters: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(description)
        self.description = description
        self.log_detail = log_detail
        self.retry_after = retry_after
        self.challenge_parameters = challenge_parameters or {}

    def body(self) -> dict[str, str]:
        """Return the members of the JSON response: ``error`` and ``error_description``."""
        return {"error": self.error, "error_description": self.description}


# RFC 6749 §4.1.2.1 and §5.2
class InvalidRequest(OAuthError):
    error = "invalid_request"


class InvalidClient(OAuthError):
    error = "invalid_client"
    status = 401


class InvalidGrant(OAuthError):
    error = "invalid_grant"


class UnauthorizedClient(OAuthError):
    error = "unauthorized_client"


class UnsupportedGrantType(OAuthError):
    error = "unsupported_grant_type"


class UnsupportedResponseType(OAuthError):
    error = "unsupported_response_type"


class InvalidScope(OAuthError):
    error = "invalid_scope"


class AccessDenied(OAuthError):
    error = "access_denied"


class TemporarilyUnavailable(OAuthError):
    error = "temporarily_unavailable"
    status = 503


# RFC 8628 §3.5
class AuthorizationPending(OAuthError):
    error = "authorization_pending"


class SlowDown(OAuthError):
    error = "slow_down"


class ExpiredToken(OAuthError):
    error = "expired_token"


# RFC 8707 §2
class InvalidTarget(OAuthError):
    error = "invalid_target"


# RFC 6750 §3.1
class InvalidToken(OAuthError):
    """The access token is not valid (RFC 6750 §3.1).

    ``client_id`` and ``user``, for the log, are those of the token if it was valid before; otherwise ``None``.
    """

    error = "invalid_token"
    status = 401
    client_id: str | None = None
    user: str | None = None


class InsufficientScope(OAuthError):
    error = "insufficient_scope"
    status = 403


# RFC 9470 §3
class InsufficientUserAuthentication(OAuthError):
    error = "insufficient_user_authentication"
    status = 401


# OpenID Connect Core §3.1.2.6
class LoginRequired(OAuthError):
    error = "login_required"


class ConsentRequired(OAuthError):
    error = "consent_required"


class AccountSelectionRequired(OAuthError):
    error = "account_selection_required"


class RequestNotSupported(OAuthError):
    error = "request_not_supported"


class RequestUriNotSupported(OAuthError):
    error = "request_uri_not_supported"


class RegistrationNotSupported(OAuthError):
    error = "registration_not_supported"


# RFC 7591 §3.2.2
class InvalidRedirectUri(OAuthError):
    error = "invalid_redirect_uri"


class InvalidClientMetadata(OAuthError):
    error = "invalid_client_metadata"


# OpenID Connect Core Error Code unmet_authentication_requirements 1.0
class UnmetAuthenticationRequirements(OAuthError):
    error = "unmet_authentication_requirements"


# HTTP statuses without a registered OAuth error code
class MethodNotAllowed(InvalidRequest):
    status = 405


class Forbidden(AccessDenied):
    status = 403


class NotFound(InvalidRequest):
    status = 404


class BodyTooLarge(InvalidRequest):
    status = 413


class TooManyRequests(OAuthError):
    """A limit is reached. The code is not registered: RFC 6749 §8.5 lets an extension of the protocol define its own.

    ``temporarily_unavailable`` would say that the server is overloaded (RFC 6749 §4.1.2.1), and ``slow_down`` has
    another meaning for devices (RFC 8628 §3.5).

    :param limit: name of the setting with the limit; empty for a limit that is not a setting.
    :param is_repeated: whether the same caller was refused for the same reason within the last second.
    """

    error = "too_many_requests"
    status = 429

    def __init__(
        self,
        description: str,
        *,
        limit: str = "",
        is_repeated: bool = False,
        log_detail: str | None = None,
        retry_after: float = 0,
    ) -> None:
        super().__init__(description, log_detail=log_detail or limit or None, retry_after=retry_after)
        self.limit = limit
        self.is_repeated = is_repeated
