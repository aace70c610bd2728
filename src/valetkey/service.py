"""Load the Flask app that ``valetkey`` commands work on: the operator's own app, or one that Valetkey creates.

The created app is only an authorization server.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from flask import Flask
from flask.typing import ResponseReturnValue

from .extension import Valetkey
from .runtime import Runtime
from .settings import SettingsError
from .settings.sources import set_command_values
from .storage.engine.transaction import StoreUnavailable
from .web import pages
from .web.context import EXTENSION
from .web.error_handlers import render_unhandled_errors

APP_VARIABLE = "VALETKEY_APP"
FALLBACK_SETTINGS_VARIABLE = "_VALETKEY_LAST"


class AppNotFound(Exception):
    """The app named with ``--app`` cannot be loaded; the message says why."""


def load_app_with_worker() -> Flask:
    """Return the app for a server process of ``valetkey serve``.

    Also starts a thread that sends queued mail and logout tokens, and runs hourly tasks.
    """
    app = load_configured_app()
    app.extensions[EXTENSION].start_worker()
    return app


def load_configured_app(*, allow_resource_server: bool = False) -> Flask:
    """Return the Flask app that ``valetkey --app`` names, or else one that is only an authorization server.

    The command passes the name in the environment variable ``VALETKEY_APP``, which server processes inherit.

    The app reads its settings from the environment. Logging to stderr is set up if the app has not set up logging.

    :param allow_resource_server: whether the app may have a ``ResourceServer`` instead of a ``Valetkey``.
    :raises AppNotFound: if the app cannot be loaded.
    :raises SettingsError: if the settings are invalid.
    """
    set_command_values(os.environ, json.loads(os.environ.get(FALLBACK_SETTINGS_VARIABLE, "{}")))
    name = os.environ.get(APP_VARIABLE)
    app = load_app(name, allow_resource_server=allow_resource_server) if name else create_app()
    _log_to_stderr()
    return app


def _log_to_stderr() -> None:
    """Write Valetkey's log to stderr from level ``INFO``, unless the app has set up logging itself."""
    logger = logging.getLogger("valetkey")
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def create_app(**settings: Any) -> Flask:
    """Return a Flask app that is only an authorization server with its pages, for APIs that run elsewhere.

    :param settings: fields of ``Settings``, such as ``issuer``.
    :raises SettingsError: if the settings are invalid.
    """
    app = Flask("valetkey_service")
    app.config["VALETKEY_ENDPOINTS_BYPASS_FLASK"] = True  # the app has no Flask hooks that this would skip
    Valetkey(app, **settings)

    def index() -> ResponseReturnValue:
        return pages.finish_page(
            pages.render_page("index.html", metadata_url="/.well-known/oauth-authorization-server")
        )

    app.add_url_rule("/", "valetkey_index", index)
    render_unhandled_errors(app, app.extensions[EXTENSION].settings, owns_all_paths=True)
    return app


def load_app(name: str, *, allow_resource_server: bool = False) -> Flask:
    """Import a Flask app by name and return it. If the name is that of an app factory, call the factory.

    :param name: ``module:app``, ``module:factory`` or ``path/to/file.py:app``. Without a name after the colon, ``app``
        and then ``create_app`` is used.
    :param allow_resource_server: whether the app may have a ``ResourceServer`` instead of a ``Valetkey``.
    :raises AppNotFound: if there is no such app, its code fails, or it has no ``Valetkey``.
    """
    target, _, attribute = name.partition(":")
    try:
        module = _import_file(Path(target)) if target.endswith(".py") else _import_module(target)
        app = _find_app(module, target, attribute)
    except (AppNotFound, SettingsError, StoreUnavailable):
        raise
    except Exception as cause:  # the app's own code may raise anything
        raise AppNotFound(_summarize_import_error(target, cause)) from cause
    if not isinstance(app, Flask):
        raise AppNotFound(f"{name} is not a Flask app; name one as module:app or path/to/app.py")
    if EXTENSION not in app.extensions:
        raise AppNotFound(f"{name} has no Valetkey: add Valetkey(app, scopes={{...}})")
    if not allow_resource_server and not isinstance(app.extensions[EXTENSION], Runtime):
        raise AppNotFound(
            f"{name} has a ResourceServer and no authorization server: of these commands only `check` works with it; "
            "serve it with any WSGI server"
        )
    return app


def _find_app(module: Any, target: str, attribute: str) -> Any:
    names = [attribute] if attribute else ["app", "create_app"]
    app = next((getattr(module, name) for name in names if getattr(module, name, None) is not None), None)
    if app is None:
        others = [name for name, value in vars(module).items() if isinstance(value, Flask)]
        suggestion = f"; did you mean {target}:{others[0]}?" if others else ""
        raise AppNotFound(f"{target} has no {' and no '.join(names)}{suggestion}")
    return app() if callable(app) and not isinstance(app, Flask) else app


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


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise AppNotFound(f"there is no file {path}")
    sys.path.insert(0, str(path.absolute().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
