"""Calls of the host app's ``resource_owner`` object or function: an exception of theirs becomes a 503 response."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from flask import Flask, current_app, has_app_context
from werkzeug.exceptions import HTTPException, NotFound

from valetkey.protocol.errors import OAuthError
from valetkey.protocol.resource_owner import (
    Owner,
    ResourceOwners,
    ResourceOwnersUnavailable,
    SupportsSignOut,
    is_amr_value,
)
from valetkey.protocol.unavailable import BackendUnavailable
from valetkey.settings import SettingsError

from .resource_owners import BuiltInAccounts, CallableResourceOwners

_NUMBER, _OPTIONAL_TEXT = "a number of seconds or None", "a str or None"
# What the fields of an Owner must be, and how a message says it.
_FIELDS: Mapping[str, tuple[Any, str]] = {
    "sub": (str, "a str"),
    "auth_time": (int | float | None, _NUMBER),
    "acr": (str | None, _OPTIONAL_TEXT),
    "amr": (tuple, "a tuple of str"),
    "name": (str, "a str"),
    "email": (str, "a str"),
    "sid": (str | None, _OPTIONAL_TEXT),
    "session_began_at": (int | float | None, _NUMBER),
}
# How the host's methods are called.
_CALLS: Mapping[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "current": ((), {}),
    "sign_in_url": (("/",), {"fresh": False, "acr_values": ()}),
    "find": (("1",), {}),
    "claims": (("1", frozenset()), {}),
}

_REQUIRED_METHODS = ("current", "sign_in_url", "find")
_is_path_or_url = re.compile(r"/|https?://", re.IGNORECASE).match

P = ParamSpec("P")
R = TypeVar("R")
_log = logging.getLogger("valetkey")


class HostResourceOwners:
    """Implementation of ``ResourceOwners`` that calls the host app's, always in an application context.

    Each method raises ``ResourceOwnersUnavailable`` if the host's method raises an exception, which is logged. Errors
    of HTTP and OAuth are raised as they are, such as those of ``flask.abort``. ``current`` and ``find`` return ``None``
    if the host's method returns ``False``, as ``user.is_active and Owner(user.id)`` does, and raise
    ``ResourceOwnersUnavailable`` if it returns anything else than an ``Owner``.

    :param can_find: whether the host can look up users, and returns ``None`` for those who no longer exist.
    """

    def __init__(self, host: ResourceOwners, app: Flask, *, can_find: bool = False) -> None:
        self._host = host
        self._app = app
        self.can_find = can_find

    def current(self) -> Owner | None:
        return _check_owner("current", self._call(self._host.current))

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        try:
            url: object = self._host.sign_in_url(next, fresh=fresh, acr_values=acr_values)
        except Exception as error:
            if type(error) is LookupError:  # there is no sign-in page; a KeyError or BuildError is the host's mistake
                raise
            raise _make_unavailable("sign_in_url", error) from error
        if not isinstance(url, str) or not url:
            raise _make_type_unavailable("sign_in_url", "a URL", url)
        if not _is_path_or_url(url):  # browsers would resolve it relative to the page of Valetkey
            problem = f"resource_owner.sign_in_url must return a URL, or a path that begins with /, not {url!r}"
            raise _make_unavailable("sign_in_url", ValueError(problem))
        return url

    def find(self, sub: str) -> Owner | None:
        try:
            return _check_owner("find", self._call(self._host.find, sub))
        except NotFound:  # raised by Flask-SQLAlchemy's get_or_404
            return None

    def claims(self, sub: str, scope: frozenset[str]) -> Mapping[str, Any]:
        if not hasattr(self._host, "claims"):
            return {}
        claims: object = self._call(self._host.claims, sub, scope)
        if claims is None:
            return {}
        if not isinstance(claims, Mapping):
            raise _make_type_unavailable("claims", "a dict", claims)
        return claims

    def _call(self, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        has_context = has_app_context() and current_app == self._app
        try:
            with nullcontext() if has_context else self._app.app_context():
                return method(*args, **kwargs)
        except Exception as error:
            raise _make_unavailable(getattr(method, "__name__", "resource_owner"), error) from error


class HostResourceOwnersWithSignOut(HostResourceOwners):
    """The same for a host app whose ``resource_owner`` has the additional method ``sign_out``."""

    def sign_out(self) -> None:
        assert isinstance(self._host, SupportsSignOut)
        self._call(self._host.sign_out)


def _check_owner(method: str, owner: Any) -> Owner | None:
    """Return what the host's method returned as an ``Owner`` with fields of the right types, or ``None`` for no user.

    An id may be a number or a UUID, and ``name`` and ``email`` may be ``None``, as in a database.
    """
    if owner is None or owner is False:
        return None
    if not isinstance(owner, Owner):
        raise _make_type_unavailable(method, "an Owner or None", owner)
    values: dict[str, Any] = {
        **{name: getattr(owner, name) for name in _FIELDS},
        **{name: _id_as_text(getattr(owner, name)) for name in ("sub", "sid")},
        **{name: getattr(owner, name) or "" for name in ("name", "email")},
        "amr": tuple(owner.amr) if isinstance(owner.amr, list) else owner.amr,
    }
    if values["sub"] in (None, ""):
        raise _make_type_unavailable(method, "None if there is no user", owner)
    for name, (expected_type, description) in _FIELDS.items():
        if isinstance(values[name], bool) or not isinstance(values[name], expected_type):
            raise _make_type_unavailable(method, f"an Owner whose {name} is {description}", values[name])
    if wrong := [value for value in values["amr"] if not is_amr_value(value)]:
        expected = "an Owner whose amr has only values of visible ASCII characters, without spaces"
        raise _make_unavailable(method, TypeError(f"resource_owner.{method} must return {expected}, not {wrong[0]!r}"))
    is_changed = any(getattr(owner, name) is not value for name, value in values.items())
    return Owner(**values) if is_changed else owner  # a subclass of the host may have another constructor


def _id_as_text(value: object) -> object:
    return str(value) if isinstance(value, int | UUID) and not isinstance(value, bool) else value


def _make_type_unavailable(method: str, expected: str, value: object) -> Exception:
    """Return the exception to raise if the host's method returned a value of the wrong type, which is logged."""
    found = "None" if value is None else "an empty text" if value == "" else type(value).__name__
    error = TypeError(f"resource_owner.{method} must return {expected}, not {found}")
    return _make_unavailable(method, error)


def _make_unavailable(method: str, error: Exception) -> Exception:
    """Return the exception to raise instead of the host's exception, which is logged with its traceback."""
    if isinstance(error, (HTTPException, OAuthError, BackendUnavailable)):
        return error
    _log.error("resource_owner.%s raised an exception", method, exc_info=error)
    return ResourceOwnersUnavailable(f"resource_owner.{method} raised {type(error).__name__}")


def make_resource_owners(
    resource_owner: ResourceOwners | Callable[[], str | None] | None, sign_in_url: str | None, app: Flask
) -> ResourceOwners:
    """Return the accounts of users for the argument ``resource_owner`` of ``Valetkey``.

    :param resource_owner: the host's object or function; ``None`` for Valetkey's own accounts.
    :param sign_in_url: URL of the host's sign-in page, if ``resource_owner`` is a function.
    :param app: the host app, in whose application context its code is called.
    :raises SettingsError: if ``resource_owner`` lacks a method, or cannot be called as documented.
    """
    if resource_owner is None:
        return BuiltInAccounts()
    if callable(resource_owner) and not hasattr(resource_owner, "current"):
        _check_call("resource_owner", resource_owner)
        return HostResourceOwners(CallableResourceOwners(resource_owner, sign_in_url), app)
    _check_methods(resource_owner)
    has_sign_out = isinstance(resource_owner, SupportsSignOut)
    wrapper = HostResourceOwnersWithSignOut if has_sign_out else HostResourceOwners
    return wrapper(resource_owner, app, can_find=True)  # type: ignore[arg-type]  # a callable may have `current` too


def _check_methods(resource_owner: object) -> None:
    """Check that an object has the methods of ``ResourceOwners``, with their parameters. It may lack ``claims``.

    :raises SettingsError: if it has not; the message says which.
    """
    if isinstance(resource_owner, type):
        name = resource_owner.__name__
        raise SettingsError(f"resource_owner is the class {name}: pass an object of it, {name}()")
    calls = {name: call for name, call in _CALLS.items() if name in _REQUIRED_METHODS or hasattr(resource_owner, name)}
    missing = [name for name in calls if not callable(getattr(resource_owner, name, None))]
    if missing:
        raise SettingsError(
            f"resource_owner must be an object with the methods {', '.join(_REQUIRED_METHODS)}, or a function that "
            f"returns the user id: this {type(resource_owner).__name__} has no {', '.join(missing)}"
        )
    for name, (args, kwargs) in calls.items():
        _check_call(f"resource_owner.{name}", getattr(resource_owner, name), *args, **kwargs)


def _check_call(name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Check that a function of the host can be called with these arguments, and is not a coroutine function.

    :raises SettingsError: if it cannot.
    """
    if inspect.iscoroutinefunction(function):
        raise SettingsError(f"{name} is an async function: make it a function without async")
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as cause:
        raise SettingsError(f"{name} has other parameters than ResourceOwners documents: {cause}") from cause
    except ValueError:  # of a function in C, which has no signature
        return
