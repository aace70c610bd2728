"""A store for one test: the app works as always, in a folder that goes away."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from flask import Flask

from valetkey.runtime import Runtime, prepare_store
from valetkey.settings import Settings
from valetkey.web.resource_owners import BuiltInAccounts

from .clock import Clock
from .tokens import runtime_for_tests

_DATABASE_FILE = "valetkey.db"
_COMPOSED_ATTRIBUTES = (
    "on_store_created",
    "job_handlers",
    "hourly_tasks",
    "app_context",
    "has_built_in_accounts",
    "build_openapi_document",
)  # a test sees that none is forgotten


@dataclass(frozen=True, slots=True)
class PreparedStore:
    """A store with tables and keys and nothing else, to be copied: making the keys costs most of a second."""

    file: Path
    encryption_key: str


def prepared_store(folder: Path) -> PreparedStore:
    """Make such a store in a folder."""
    key = base64.b64encode(os.urandom(32)).decode()
    settings = Settings(data_dir=str(folder), encryption_keys=(key,), embedded_worker=False)
    runtime = Runtime(
        settings, BuiltInAccounts(), clock=lambda: 0.0
    )  # wherever a test's clock begins, the keys are there
    prepare_store(runtime)
    runtime.close()
    return PreparedStore(folder / _DATABASE_FILE, key)


@contextmanager
def throw_away_store(
    app: Flask, *, clock: Clock | None = None, prepared: PreparedStore | None = None
) -> Iterator[Clock]:
    """Let an app keep everything of ours in a folder that is removed at the end; answers the clock it goes by.

    Settings and routes are the app's. Nothing is in the store but keys; no thread sends mail, no Redis is asked.

    :param clock: one that begins now where left out.
    :param prepared: what ``prepared_store`` made, so that each test need not.
    :raises SettingsError: where the app's issuer is not on loopback.
    """
    runtime = runtime_for_tests(app)
    clock = clock or Clock()
    with TemporaryDirectory(prefix="valetkey-test-") as folder:
        prepared = prepared or prepared_store(Path(folder) / "prepared")
        shutil.copy(prepared.file, Path(folder) / _DATABASE_FILE)
        settings = replace(
            runtime.settings,
            database_url="",
            redis_url=None,
            data_dir=folder,
            encryption_keys=(prepared.encryption_key,),
            embedded_worker=False,
        )
        with _reconfigured(settings, clock, runtime):
            for created in runtime.on_store_created:
                created(runtime)
            yield clock


@contextmanager
def _reconfigured(settings: Settings, clock: Clock, runtime: Runtime) -> Iterator[None]:
    """The runtime made anew, in place: views and hooks hold this object. What composition gave to it stays."""
    usual = dict(vars(runtime))
    Runtime.__init__(runtime, settings, runtime.owners, clock=clock)
    vars(runtime).update({name: usual[name] for name in _COMPOSED_ATTRIBUTES})
    try:
        yield
    finally:
        runtime.close()
        vars(runtime).clear()
        vars(runtime).update(usual)
