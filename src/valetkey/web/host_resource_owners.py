"""Calls of the host app's ``resource_owner`` object or function: an exception of theirs becomes a 503 response."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from werkzeug.exceptions import HTTPException, NotFound

from valetkey.protocol.errors import OAuthError
from valetkey.protocol.resource_owner import Owner, ResourceOwners, ResourceOwnersUnavailable, SupportsSignOut
from valetkey.protocol.unavailable import BackendUnavailable

from .resource_owners import BuiltInAccounts, CallableResourceOwners

P = ParamSpec("P")
R = TypeVar("R")
_log = logging.getLogger("valetkey")


class HostResourceOwners:
    """Implementation of ``ResourceOwners`` that calls the host app's.

    Each method raises ``ResourceOwnersUnavailable`` if the host's method raises an exception, which is logged. Errors
    of HTTP and OAuth are raised as they are, such as those of ``flask.abort``. ``current`` and ``find`` return ``None``
    if the host's method returns ``False``, as ``user.is_active and Owner(user.id)`` does, and raise
    ``ResourceOwnersUnavailable`` if it returns anything else than an ``Owner``.

    :param can_find: whether the host can look up users, and returns ``None`` for those who no longer exist.
    """

    def __init__(self, host: ResourceOwners, *, can_find: bool = False) -> None:
        self._host = host
        self.can_find = can_find

    def current(self) -> Owner | None:
        return _check_owner("current", _call(self._host.current))

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        try:
            return self._host.sign_in_url(next, fresh=fresh, acr_values=acr_values)
        except LookupError:  # there is no sign-in page
            raise
        except Exception as error:
            raise _make_unavailable("sign_in_url", error) from error

    def find(self, sub: str) -> Owner | None:
        try:
            return _check_owner("find", _call(self._host.find, sub))
        except NotFound:  # raised by Flask-SQLAlchemy's get_or_404
            return None

    def claims(self, sub: str, scope: frozenset[str]) -> Mapping[str, Any]:
        claims: object = _call(self._host.claims, sub, scope)
        if claims is None:
            return {}
        if not isinstance(claims, Mapping):
            raise _make_type_unavailable("claims", "a dict", claims)
        return claims


class HostResourceOwnersWithSignOut(HostResourceOwners):
    """The same for a host app whose ``resource_owner`` has the additional method ``sign_out``."""

    def sign_out(self) -> None:
        assert isinstance(self._host, SupportsSignOut)
        _call(self._host.sign_out)


def _call(method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return method(*args, **kwargs)
    except Exception as error:
        raise _make_unavailable(getattr(method, "__name__", "resource_owner"), error) from error


def _check_owner(method: str, owner: Any) -> Owner | None:
    if owner is None or owner is False:
        return None
    if not isinstance(owner, Owner):
        raise _make_type_unavailable(method, "an Owner or None", owner)
    if not owner.sub:
        raise _make_type_unavailable(method, "None if there is no user", owner)
    return owner


def _make_type_unavailable(method: str, expected: str, value: object) -> Exception:
    """Return the exception to raise if the host's method returned a value of the wrong type, which is logged."""
    error = TypeError(f"resource_owner.{method} must return {expected}, not {type(value).__name__}")
    return _make_unavailable(method, error)


def _make_unavailable(method: str, error: Exception) -> Exception:
    """Return the exception to raise instead of the host's exception, which is logged with its traceback."""
    if isinstance(error, (HTTPException, OAuthError, BackendUnavailable)):
        return error
    _log.error("resource_owner.%s raised an exception", method, exc_info=error)
    return ResourceOwnersUnavailable(f"resource_owner.{method} raised {type(error).__name__}")


def make_resource_owners(
    resource_owner: ResourceOwners | Callable[[], str | None] | None, sign_in_url: str | None
) -> ResourceOwners:
    """Return the accounts of users for the argument ``resource_owner`` of ``Valetkey``.

    :param resource_owner: the host's object or function; ``None`` for Valetkey's own accounts.
    :param sign_in_url: URL of the host's sign-in page, if ``resource_owner`` is a function.
    """
    if resource_owner is None:
        return BuiltInAccounts()
    if callable(resource_owner) and not hasattr(resource_owner, "current"):
        return HostResourceOwners(CallableResourceOwners(resource_owner, sign_in_url))
    has_sign_out = isinstance(resource_owner, SupportsSignOut)
    wrapper = HostResourceOwnersWithSignOut if has_sign_out else HostResourceOwners
    return wrapper(resource_owner, can_find=True)  # type: ignore[arg-type]  # a callable may have `current` too
