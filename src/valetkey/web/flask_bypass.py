"""Whether requests can be handled before Flask: whether Flask would then call nothing of the host app's for them.

What is not known to be Flask's or Valetkey's own counts as the host's.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import flask
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from werkzeug.routing import Map

from .wsgi import Environ, blueprint_scopes, runs_once

_FLASK_FOLDER = f"{Path(flask.__file__).parent}{os.sep}"  # with the separator: not the folder flask_login
_OWN_FOLDER = f"{Path(__file__).parents[1]}{os.sep}"
_OWN_MODULES = "valetkey."
BYPASS_EXTENSION = "valetkey_flask_bypass"  # key of the app's FlaskBypass in app.extensions
# The methods that Flask calls for each request that a view answers. Errors are left to Flask: see EndpointMiddleware.
_METHODS = (
    *("app_context", "request_context", "full_dispatch_request", "preprocess_request", "dispatch_request"),
    *("ensure_sync", "make_response", "finalize_request", "process_response", "create_url_adapter"),
    *("do_teardown_request", "do_teardown_appcontext"),
)
_CLASSES = {"request_class": flask.Request, "response_class": flask.Response}
_HOOKS = ("before_request_funcs", "after_request_funcs", "teardown_request_funcs", "url_value_preprocessors")
_SIGNALS = (
    *(flask.request_started, flask.request_finished, flask.request_tearing_down),
    *(flask.appcontext_pushed, flask.appcontext_popped, flask.appcontext_tearing_down),
)
_SESSION_METHODS = ("open_session", "save_session", "make_null_session", "is_null_session")
_LOGIN_HOOK = "flask_login.login_manager.LoginManager._update_remember_cookie"
_CSRF_CLASS = "flask_wtf.csrf.CSRFProtect"
_CSRF_HOOK = f"{_CSRF_CLASS}.init_app.<locals>.csrf_protect"
_SETTINGS = ("TRUSTED_HOSTS", "SERVER_NAME")  # with them, Flask decides which hosts are served
# What changes only if somebody replaces it. It is compared in each request, which takes 1 us.
_read_attributes = attrgetter(
    *(*_METHODS, *_CLASSES, "url_map.__class__", "url_map.host_matching", "subdomain_matching"),
    *("session_interface", *(f"session_interface.{name}" for name in _SESSION_METHODS)),
)
_read_hooks = attrgetter(*_HOOKS)


def list_hooks(app: Flask) -> dict[int, Any]:
    """Return the functions that Flask calls before, after and at the end of a request, by their ``id()``.

    A hook may be an object without a hash. Functions that run once are left out.
    """
    hooks = (hook for scopes in _read_hooks(app) for functions in scopes.values() for hook in functions)
    return {id(hook): hook for hook in hooks if not runs_once(hook)}


class FlaskBypass:
    """Says of each request to an app whether it must go through Flask. What is added to the app later counts as well.

    Create it after Valetkey's hooks are added, and before its middleware.

    :param host_hooks: what ``list_hooks`` returned before Valetkey added its own hooks. These do nothing for machine
        endpoints, or the middleware does the same.
    """

    def __init__(self, app: Flask, host_hooks: dict[int, Any]) -> None:
        self._app = app
        self._own_hooks = {key: hook for key, hook in list_hooks(app).items() if key not in host_hooks}
        self._inner_app = app.wsgi_app
        self._views = dict(app.view_functions)
        self._plain_attributes: tuple[Any, ...] | None = None

    def needs_flask(self, environ: Environ, endpoint: str) -> bool:
        """Return whether a request must go through Flask.

        :param endpoint: name of the Flask endpoint, one of Valetkey's.
        """
        return self._needs_flask(environ, endpoint, self._views[endpoint], is_own=True)

    def needs_flask_for_view(self, environ: Environ, endpoint: str, view: Any) -> bool:
        """Return whether a request to a view of the host's must go through Flask.

        :param endpoint: name of the Flask endpoint.
        :param view: the function that must still be the view of the endpoint.
        """
        return self._needs_flask(environ, endpoint, view, is_own=False)

    def _needs_flask(self, environ: Environ, endpoint: str, view: Any, *, is_own: bool) -> bool:
        app = self._app
        if app.view_functions.get(endpoint) is not view:
            return True
        cookie = environ.get("HTTP_COOKIE")
        if cookie is not None and _has_cookie(cookie, app.config["SESSION_COOKIE_NAME"]):
            return True  # Flask may renew it in any response
        scopes = blueprint_scopes(endpoint)
        for hooks in _read_hooks(app):
            for scope in scopes:
                for hook in hooks.get(scope, ()):
                    if id(hook) not in self._own_hooks and not (is_own and _does_nothing(hook, app)):
                        return True
        if app.teardown_appcontext_funcs:
            return True
        for signal in _SIGNALS:
            if signal.receivers and any(_receivers_of_host(signal, app)):
                return True
        config = app.config
        if config["SERVER_NAME"] or config.get("TRUSTED_HOSTS"):
            return True
        attributes = _read_attributes(app)
        if attributes == self._plain_attributes:
            return False
        if any(self._list_replaced()):
            return True
        self._plain_attributes = attributes
        return False

    def list_reasons(self) -> list[str]:
        """Return what makes all requests go through Flask, each as a noun phrase; empty if they need not.

        The functions that Valetkey itself calls before the first request are left out.
        """
        app, reasons = self._app, list(self._list_replaced())
        for name in _HOOKS:
            kind = name.removesuffix("_funcs").removesuffix("s")
            for hooks in getattr(app, name).values():
                added = [
                    hook
                    for hook in hooks
                    if id(hook) not in self._own_hooks and not runs_once(hook) and not _does_nothing(hook, app)
                ]
                reasons += [f"the {kind} function {_name_of(hook)}" for hook in added]
        reasons += [f"the teardown_appcontext function {_name_of(hook)}" for hook in app.teardown_appcontext_funcs]
        for signal in _SIGNALS:
            receivers = _receivers_of_host(signal, app)
            reasons += [f"{_name_of(receiver)}, connected to the signal {signal.name}" for receiver in receivers]
        return reasons + [f"{name} in the app's configuration" for name in _SETTINGS if app.config.get(name)]

    def _list_replaced(self) -> Iterator[str]:
        """Yield what of Flask the app has replaced: methods, classes, sessions, the URL map, inner WSGI middleware."""
        app = self._app
        for name in _METHODS:
            if not _is_flasks(getattr(app, name), app):
                yield f"the replaced method {name}"
        for name, flasks_class in _CLASSES.items():
            if getattr(app, name) is not flasks_class:
                yield f"the {name} {getattr(app, name).__name__}"
        sessions = app.session_interface
        if type(sessions) is not SecureCookieSessionInterface:
            yield f"the session_interface {type(sessions).__name__}"
        elif not all(_is_flasks(getattr(sessions, name), sessions) for name in _SESSION_METHODS):
            yield "a replaced method of the session_interface"
        if type(app.url_map) is not Map or app.url_map.host_matching or app.subdomain_matching:
            yield "host_matching, subdomain_matching or another url_map"
        if not _is_flasks(self._inner_app, app):
            yield "WSGI middleware that the app had before Valetkey; add it after Valetkey"


def _is_flasks(method: Any, owner: object) -> bool:
    """Return whether a method of an object is Flask's own, or Valetkey's function around it.

    Valetkey's functions must refer to what they replace as ``functools.wraps`` does.
    """
    while type(method) is FunctionType and method.__code__.co_filename.startswith(_OWN_FOLDER):
        method = getattr(method, "__wrapped__", None)  # Valetkey's function does nothing for machine endpoints
    if type(method) is not MethodType:  # some monitoring tools put an object around it, which looks like a method
        return False
    function = method.__func__
    return (
        type(function) is FunctionType
        and method.__self__ is owner
        and function.__code__.co_filename.startswith(_FLASK_FOLDER)
    )


def _does_nothing(hook: Any, app: Flask) -> bool:
    """Return whether a hook of Flask-Login or Flask-WTF does nothing for Valetkey's endpoints.

    That of Flask-Login only changes a session, and requests with one go through Flask. From ``CSRFProtect``, Valetkey's
    endpoints are exempt. A subclass may do more.
    """
    name = f"{getattr(hook, '__module__', None)}.{getattr(hook, '__qualname__', None)}"
    if name == _LOGIN_HOOK:
        return type(hook) is MethodType and not app.config.get("REMEMBER_COOKIE_REFRESH_EACH_REQUEST")
    if name != _CSRF_HOOK:
        return False
    csrf: Any = app.extensions.get("csrf")
    csrf_class: Any = type(csrf)
    if f"{csrf_class.__module__}.{csrf_class.__qualname__}" != _CSRF_CLASS:
        return False
    protect = inspect.unwrap(csrf.protect)  # Valetkey has put a function around it
    is_original = type(protect) is MethodType and protect.__func__ is csrf_class.protect
    return is_original and any(cell.cell_contents is csrf for cell in hook.__closure__ or ())


def _is_own(function: Any) -> bool:
    return (getattr(function, "__module__", None) or "").startswith(_OWN_MODULES)


def _receivers_of_host(signal: Any, app: Flask) -> Iterator[Any]:
    return (receiver for receiver in signal.receivers_for(app) if not _is_own(receiver))


def _has_cookie(header: str, name: str) -> bool:
    """Return whether a ``Cookie`` header may have a cookie of a name."""
    return name in header and any(part.partition("=")[0].strip() == name for part in header.split(";"))


def _name_of(function: Any) -> str:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', None)}.{name}"
