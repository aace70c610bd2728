"""A temporary database for one test: the app stores its data in a folder that is removed after the test."""

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
from .tokens import check_loopback_issuer, find_runtime

_DATABASE_FILE = "valetkey.db"
# Attributes that the extension sets on the runtime after creating it. A test fails if one is missing here.
_COMPOSED_ATTRIBUTES = (
    "can_find_host_users",
    "on_store_created",
    "job_handlers",
    "hourly_tasks",
    "has_built_in_accounts",
    "build_openapi_document",
    "sources",
)
# Settings that decide which routes and hooks the extension registers; a test cannot change them later.
_REGISTERED_SETTINGS = (
    *("oauth_path", "account_path", "device_path", "personal_access_tokens_path", "openapi_path", "docs_path"),
    *("llms_txt_path", "api_prefix", "api_catalog", "security_contact", "cors", "max_body", "problem_details"),
    *("request_ids", "endpoints_bypass_flask", "sign_in_url"),
)


@dataclass(frozen=True, slots=True)
class PreparedStore:
    """A SQLite database with tables and signing keys only, to be copied for each test.

    Creating the signing keys takes most of a second; copying the database file takes almost no time.

    :param file: the database file.
    :param encryption_key: the key, base64-encoded, that encrypts the signing keys in the database.
    """

    file: Path
    encryption_key: str


def prepared_store(folder: Path) -> PreparedStore:
    """Create a database once for many tests, to be passed to ``throw_away_store(prepared=...)``.

    :param folder: an existing folder for the database file; it must not be removed before the last test has run.
    """
    key = base64.b64encode(os.urandom(32)).decode()
    settings = Settings(data_dir=str(folder), encryption_keys=(key,), embedded_worker=False)
    # Keys created at time 0 are in use at any time at which a test's clock starts.
    runtime = Runtime(settings, BuiltInAccounts(), clock=lambda: 0.0)
    prepare_store(runtime)
    runtime.close()
    return PreparedStore(folder / _DATABASE_FILE, key)


@contextmanager
def throw_away_store(
    app: Flask, *, clock: Clock | None = None, prepared: PreparedStore | None = None
) -> Iterator[Clock]:
    """Context manager that makes an app use a temporary database, which is removed at the end; yields the app's clock.

    For example::

        with throw_away_store(app) as clock:
            response = app.test_client().get("/api/orders", headers=headers_for(app, "orders:read"))

    The app keeps its routes and its other settings, without those from environment variables. The database is empty
    except for signing keys and Valetkey's own clients. The app's Redis is not used, and no worker thread sends mail.

    :param clock: the app's clock; by default, a new one that starts at the current time.
    :param prepared: a database from ``prepared_store``, which is copied; by default, a new one is created, which takes
        most of a second.
    :raises SettingsError: if the app has no ``Valetkey``, or its issuer is not on loopback.
    """
    runtime = find_runtime(app)
    base_settings = _without_environment(runtime)
    check_loopback_issuer(base_settings)
    clock = clock or Clock()
    with TemporaryDirectory(prefix="valetkey-test-") as folder:
        prepared = prepared or prepared_store(Path(folder) / "prepared")
        shutil.copy(prepared.file, Path(folder) / _DATABASE_FILE)
        settings = replace(
            base_settings,
            database_url="",
            redis_url=None,
            data_dir=folder,
            encryption_keys=(prepared.encryption_key,),
            embedded_worker=False,
        )
        with _reconfigured(settings, clock, runtime):
            for on_created in runtime.on_store_created:
                on_created(runtime, runtime.clock())
            yield clock


def _without_environment(runtime: Runtime) -> Settings:
    """Return the settings of an app without those from environment variables, except those that decide its routes.

    An app that is created after ``valetkey.testing`` is imported does not read environment variables.
    """
    if not runtime.sources.environment.values:
        return runtime.settings
    registered = {name: getattr(runtime.settings, name) for name in _REGISTERED_SETTINGS}
    return replace(runtime.sources.without_environment().read(), **registered)


@contextmanager
def _reconfigured(settings: Settings, clock: Clock, runtime: Runtime) -> Iterator[None]:
    """Context manager that initializes an app's runtime with other settings and another clock, and restores it.

    The runtime object is changed in place, since views and hooks refer to it. Attributes that the extension has set on
    it are preserved.
    """
    original = dict(vars(runtime))
    Runtime.__init__(runtime, settings, runtime.owners, clock=clock)
    vars(runtime).update({name: original[name] for name in _COMPOSED_ATTRIBUTES})
    try:
        yield
    finally:
        runtime.close()
        vars(runtime).clear()
        vars(runtime).update(original)
