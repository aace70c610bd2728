"""Load the Flask app that ``valetkey`` commands work on: the operator's own app, or one that Valetkey creates.

The created app is only an authorization server.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import re
import signal
import sys
import sysconfig
import time
import traceback
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from flask.cli import NoAppException, ScriptInfo, find_app_by_string, find_best_app, prepare_import
from flask.typing import ResponseReturnValue

from .activity.log import escape_records
from .developer_portal.well_known import metadata_url_below_issuer
from .extension import Valetkey
from .protocol.unavailable import BackendUnavailable
from .resource_server.standalone_context import StandaloneContext
from .runtime import Runtime
from .settings import SettingsError
from .settings.sources import set_fallbacks
from .web import pages
from .web.context import EXTENSION
from .web.error_handlers import render_unhandled_errors
from .web.middleware import add_middleware
from .web.request_slots import RequestSlotsMiddleware
from .web.security_headers import security_headers

APP_VARIABLE = "VALETKEY_APP"
_PATH_MARK = re.compile(r"[/\\]|\.py$")  # in the name of an app: it is a path, and not the name of a module
FALLBACK_SETTINGS_VARIABLE = "_VALETKEY_LAST"
THREADS_VARIABLE = "_VALETKEY_THREADS"
DRAIN_TIMEOUT_S = 10  # time that requests in progress have when a server process is stopped
_PARENT_CHECK_INTERVAL_S = 1.0
FLASK_APP_VARIABLE = "_VALETKEY_FLASK_APP"  # the app of the `flask` command; empty: the one that Flask finds


def is_app_named() -> bool:
    """Return whether the command that was called names an app; else ``load_configured_app`` creates one."""
    return bool(os.environ.get(APP_VARIABLE)) or FLASK_APP_VARIABLE in os.environ


class AppNotFound(Exception):
    """The app named with ``--app`` cannot be loaded; the message says why."""


def load_app_with_worker() -> Flask:
    """Return the app for a server process of ``valetkey serve``.

    Also starts the worker thread, unless the setting ``embedded_worker`` is false. The process ends if the one that
    started it does.
    """
    Thread(target=_end_with_parent, args=(os.getppid(),), name="valetkey-parent", daemon=True).start()
    app = load_configured_app(allow_resource_server=True)
    extension: Runtime | StandaloneContext = app.extensions[EXTENSION]
    settings = extension.settings
    own_paths = settings.own_paths if isinstance(extension, Runtime) else extension.own_paths
    own = (*own_paths, settings.health_path, settings.readiness_path, "/.well-known")
    prefixed = [f"{prefix}{path}" for prefix in {"", urlsplit(settings.issuer).path} for path in own if path]
    slots = int(os.environ[THREADS_VARIABLE]) // 2  # the other half is for endpoints, pages and health checks
    add_middleware(app, RequestSlotsMiddleware(slots, prefixed, security_headers(settings.issuer)))
    # Exclude modules and app from full garbage collections, which would stop all requests for 20 ms (decision 69).
    gc.freeze()
    if isinstance(extension, Runtime):
        extension.worker_thread.may_run = settings.embedded_worker  # the command that started this process has none
        extension.worker_thread.ensure_running()  # before the first request, since mail may be queued already
    return app


def _end_with_parent(parent_pid: int) -> None:
    """Wait until the parent process has ended, for example by ``kill -9``; then end this one as an operator would.

    Requests in progress may continue for 10 seconds, as at an orderly stop.
    """
    while os.getppid() == parent_pid:
        time.sleep(_PARENT_CHECK_INTERVAL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(DRAIN_TIMEOUT_S)
    os._exit(1)


def load_configured_app(*, script: ScriptInfo | None = None, allow_resource_server: bool = False) -> Flask:
    """Return the Flask app of ``valetkey --app`` or ``flask --app``, else one that is only an authorization server.

    The command passes the name in the environment variable ``VALETKEY_APP``, which server processes inherit.

    Settings that nothing sets have the values that the command passes to server processes.

    :param script: the ``flask`` command, if that is what runs.
    :param allow_resource_server: whether the app may have a ``ResourceServer`` instead of a ``Valetkey``.
    :raises AppNotFound: if the app cannot be loaded.
    :raises SettingsError: if the settings are invalid.
    """
    set_fallbacks(json.loads(os.environ.get(FALLBACK_SETTINGS_VARIABLE, "{}")))
    name, flask_app = os.environ.get(APP_VARIABLE), os.environ.get(FLASK_APP_VARIABLE)
    if script is None and flask_app is not None:
        script = ScriptInfo(flask_app or None)
    if name:
        return load_app(name, allow_resource_server=allow_resource_server)
    if script is None:
        return create_app()
    app = script.load_app()
    _check_extension(app, app.name, allow_resource_server=allow_resource_server)
    return app


def create_app(**settings: Any) -> Flask:
    """Return a Flask app that is only an authorization server with its pages, for APIs that run elsewhere.

    :param settings: fields of ``Settings``, such as ``issuer``.
    :raises SettingsError: if the settings are invalid.
    """
    app = Flask("valetkey_service")
    Valetkey(app, **settings)
    own_settings = app.extensions[EXTENSION].settings
    escape_records(app.logger)  # Flask logs unexpected exceptions, whose messages may contain input

    def index() -> ResponseReturnValue:
        metadata_url = metadata_url_below_issuer(own_settings)
        return pages.finish_page(pages.render_page("index.html", metadata_url=metadata_url))

    app.add_url_rule("/", "valetkey_index", index)
    render_unhandled_errors(app, app.extensions[EXTENSION].settings, owns_all_paths=True)
    return app


def load_app(name: str, *, allow_resource_server: bool = False) -> Flask:
    """Import a Flask app by name and return it. If the name is that of an app factory, call the factory.

    :param name: what ``flask --app`` takes: ``module:app``, ``module:factory``, ``module:factory('argument')``,
        ``path/to/file.py:app`` or the path of a package. Without a name after the colon, ``app``, ``application`` or
        the only Flask app of the module is used, and then ``create_app`` or ``make_app`` is called.
    :param allow_resource_server: whether the app may have a ``ResourceServer`` instead of a ``Valetkey``.
    :raises AppNotFound: if there is no such app, its code fails, or it has no ``Valetkey``.
    """
    target, attribute = [*re.split(r":(?![\\/])", name, maxsplit=1), ""][:2]  # not at the colon of C:\
    try:
        module = _import_path(Path(target)) if _PATH_MARK.search(target) else _import_module(target)
        app = _find_app(module, target, attribute)
    except (AppNotFound, SettingsError, BackendUnavailable):
        raise
    except Exception as cause:  # the app's own code may raise anything
        raise AppNotFound(_summarize_import_error(target, cause)) from cause
    if not isinstance(app, Flask):
        raise AppNotFound(f"{name} is not a Flask app; name one as module:app or path/to/app.py")
    _check_extension(app, name, allow_resource_server=allow_resource_server)
    return app


def _check_extension(app: Flask, name: str, *, allow_resource_server: bool) -> None:
    """Check that an app has a ``Valetkey``.

    :param name: what the error message calls the app.
    :param allow_resource_server: whether the app may have a ``ResourceServer`` instead.
    :raises AppNotFound: if it has neither.
    """
    if EXTENSION not in app.extensions:
        raise AppNotFound(f"{name} has no Valetkey: add Valetkey(app, scopes={{...}})")
    if not allow_resource_server and not isinstance(app.extensions[EXTENSION], Runtime):
        raise AppNotFound(
            f"{name} has a ResourceServer and no authorization server: of these commands only `serve`, `check` and "
            "`openapi` work with it"
        )


def _find_app(module: Any, target: str, attribute: str) -> Any:
    """Return the app of a module, as ``flask --app`` finds it: by name, by a call of a factory, or the best one.

    :raises AppNotFound: if there is none.
    """
    try:
        return find_app_by_string(module, attribute) if attribute else find_best_app(module)
    except NoAppException as cause:
        name = attribute.partition("(")[0]
        if not any(hasattr(module, item) for item in ([name] if name else ["create_app", "make_app"])):
            apps = [other for other, value in vars(module).items() if isinstance(value, Flask)]
            suggestion = f"; did you mean {target}:{apps[0]}?" if apps else ""
            raise AppNotFound(f"{target} has no {name or 'app and no create_app'}{suggestion}") from cause
        raise AppNotFound(f"{target}: {cause.message}") from cause


def _summarize_import_error(target: str, cause: Exception) -> str:
    """Return the error message for an app that cannot be imported.

    It has the file and line of the app's own code that failed, and the exception, without a traceback.

    :param target: the module or file that was imported.
    :param cause: the exception that the import raised.
    """
    if isinstance(cause, SyntaxError):
        place, line = f"{cause.filename}:{cause.lineno}", (cause.text or "").strip()
    else:
        frames = traceback.extract_tb(cause.__traceback__)
        app_frames = [frame for frame in frames if not _is_library_frame(frame.filename)] or list(frames)
        place, line = f"{app_frames[-1].filename}:{app_frames[-1].lineno}", app_frames[-1].line or ""
    return f"{target} cannot be loaded\n{place}\n  {line}\n{type(cause).__name__}: {cause}"


def _is_library_frame(filename: str) -> bool:
    """Return whether the source file of a stack frame belongs to Valetkey, the standard library or a package."""
    installed = (str(Path(__file__).parent), sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))
    return filename.startswith(("<frozen", *installed))


def _import_module(name: str) -> Any:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as cause:
        if cause.name is not None and not name.startswith(cause.name):
            raise
        raise AppNotFound(f"there is no module {name}: name the app as module:app or path/to/app.py") from cause


def _import_path(path: Path) -> Any:
    """Import a file, or a package or module that is named by its path, such as ``src/shop`` for ``src/shop.py``.

    :raises AppNotFound: if there is none.
    """
    is_file = path.suffix == ".py"
    if not (path if is_file else path.with_name(f"{path.name}.py")).is_file() and not (path / "__init__.py").is_file():
        raise AppNotFound(f"there is no file {path}" if is_file else f"there is no package or module {path}")
    if not is_file or (path.absolute().parent / "__init__.py").is_file():
        return importlib.import_module(prepare_import(str(path)))  # its relative imports need its package
    sys.path.insert(0, str(path.absolute().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
