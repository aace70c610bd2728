"""The checks of ``/readyz`` in an app with ``Valetkey``: database, schema, keys, rate limit counters and worker."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

from flask import Flask

from valetkey.outbound.worker import is_worker_active
from valetkey.runtime import Runtime
from valetkey.storage.engine.transaction import StoreBusy
from valetkey.storage.schema import check_schema, check_writable, schema_version

from .health import Readiness


class ServerReadiness(Readiness):
    """The state of what requests to an authorization server depend on."""

    required: ClassVar[frozenset[str]] = frozenset({"store", "schema", "keys"})

    def __init__(self, app: Flask, runtime: Runtime) -> None:
        super().__init__(app)
        self._runtime = runtime

    def check(self) -> dict[str, str]:
        runtime = self._runtime
        checks = {"store": self.run("store", self._read_store)}
        if checks["store"] == "ok":
            checks["schema"] = self.run("schema", lambda: check_schema(runtime.store))
        if checks.get("schema") == "ok":
            checks["store"] = self.run("store", self._write_store)
            checks["keys"] = self.run("keys", lambda: runtime.keys.check(runtime.clock()))
            checks["worker"] = self.run("worker", lambda: is_worker_active(runtime.store, runtime.clock()) or "none")
        checks["counters"] = self.check_counters(runtime.admission.limiter, runtime.clock())
        return checks

    def _read_store(self) -> None:
        """Read from the database; a new SQLite database is created first, as the first request would do.

        :raises StoreUnavailable: if the database does not respond.
        """
        if not self._runtime.is_ready and self._runtime.store.dialect == "sqlite":
            self._runtime.get_ready()
        schema_version(self._runtime.store)

    def _write_store(self) -> None:
        """Write to the database; another process that is writing for seconds is no failure.

        :raises StoreUnavailable: if the database cannot be written.
        """
        with suppress(StoreBusy):
            check_writable(self._runtime.store)
