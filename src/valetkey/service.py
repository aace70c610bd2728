"""The deployable: the app that workers serve, an operator's own or the bare authorization server."""

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
    """``--app`` names nothing that can be served; the sentence says why."""


def load_app_with_worker() -> Flask:
    """The app of a server process of `valetkey serve`, which also sees to the outbox when it holds the lease."""
    app = load_configured_app()
    app.extensions[EXTENSION].work_in_background()
    return app


def load_configured_app(*, allow_resource_server: bool = False) -> Flask:
    """The app by what the ``valetkey`` command left in the environment.

    :param may_be_alone: whether an app that is a resource server alone will do.
    """
    set_command_values(os.environ, json.loads(os.environ.get(FALLBACK_SETTINGS_VARIABLE, "{}")))
    name = os.environ.get(APP_VARIABLE)
    app = load_app(name, allow_resource_server=allow_resource_server) if name else create_app()
    _log_to_stderr()
    return app


def _log_to_stderr() -> None:
    """Write our log to stderr, unless the app has set up logging of its own, which then has it all."""
    log = logging.getLogger("valetkey")
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


def create_app(**settings: Any) -> Flask:
    """The authorization server and its pages, for APIs that live elsewhere.

    :raises SettingsError: where the settings cannot be used.
    """
    app = Flask("valetkey_service")
    app.config["VALETKEY_ENDPOINTS_BYPASS_FLASK"] = True  # there are no hooks but ours
    Valetkey(app, **settings)

    def index() -> ResponseReturnValue:
        return pages.finish_page(
            pages.render_page("index.html", metadata_url="/.well-known/oauth-authorization-server")
        )

    app.add_url_rule("/", "valetkey_index", index)
    render_unhandled_errors(app, app.extensions[EXTENSION].settings, owns_all_paths=True)
    return app


def load_app(name: str, *, allow_resource_server: bool = False) -> Flask:
    """The Flask app that ``module:app`` or ``path/to/file.py`` names; a factory is called.

    :raises AppNotFound: where there is none, or it has no Valetkey.
    """
    target, _, attribute = name.partition(":")
    try:
        module = _import_file(Path(target)) if target.endswith(".py") else _import_module(target)
        app = _find_app(module, target, attribute)
    except (AppNotFound, SettingsError, StoreUnavailable):
        raise
    except Exception as cause:  # whatever the app's own code raises
        raise AppNotFound(_summarize_import_error(target, cause)) from cause
    if not isinstance(app, Flask):
        raise AppNotFound(f"{name} is not a Flask app")
    if EXTENSION not in app.extensions:
        raise AppNotFound(f"{name} has no Valetkey: add Valetkey(app, scopes={{...}})")
    if not allow_resource_server and not isinstance(app.extensions[EXTENSION], Runtime):
        raise AppNotFound(
            f"{name} is a resource server alone: any WSGI server serves it, and of these commands it has `check` only"
        )
    return app


def _find_app(module: Any, target: str, attribute: str) -> Any:
    names = [attribute] if attribute else ["app", "create_app"]
    found = next((getattr(module, name) for name in names if getattr(module, name, None) is not None), None)
    if found is None:
        others = [name for name, value in vars(module).items() if isinstance(value, Flask)]
        meant = f"; is {target}:{others[0]} meant?" if others else ""
        raise AppNotFound(f"{target} has no {' and no '.join(names)}{meant}")
    return found() if callable(found) and not isinstance(found, Flask) else found


def _summarize_import_error(target: str, cause: Exception) -> str:
    """Where the app's own code failed, and why: the file, the line, the error, without the frames of importing."""
    if isinstance(cause, SyntaxError):
        place, line = f"{cause.filename}:{cause.lineno}", (cause.text or "").strip()
    else:
        frames = traceback.extract_tb(cause.__traceback__)
        own = [frame for frame in frames if not _is_library_frame(frame.filename)] or list(frames)
        place, line = f"{own[-1].filename}:{own[-1].lineno}", own[-1].line or ""
    return f"{target} cannot be loaded\n{place}\n  {line}\n{type(cause).__name__}: {cause}"


def _is_library_frame(filename: str) -> bool:
    """Whether a frame is ours, Python's own, or an installed package's."""
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
