"""One process of a deployment, whose clock a test sets: in this Python process, or in a child process.

``RevocationProcess`` has the operations of the tests of revocation. ``ChildProcess`` runs them in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from flask import Flask

from tests.support.app import ENCRYPTION_KEY, add_api_routes
from tests.support.browser_client import SCOPES
from valetkey import Valetkey
from valetkey.accounts.security import disable_account, enable_account
from valetkey.authorization_server.clients.service import disable_client, enable_client
from valetkey.authorization_server.connected_apps import revoke_connected_app
from valetkey.authorization_server.end_owner import end_owner
from valetkey.authorization_server.grant_lifecycle import check_still_active, issue_refresh_token, new_grant
from valetkey.authorization_server.personal_tokens.service import TokenSpec, create_personal_token
from valetkey.outbound.pruning import prune
from valetkey.protocol.errors import InvalidToken, OAuthError
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, clients, consents, grants, scope_withdrawal
from valetkey.storage.consents import Consent
from valetkey.storage.engine.statement import sql_and_values
from valetkey.storage.engine.transaction import StoreUnavailable, Transaction
from valetkey.tokens.access import Access

DAY_S = 86400.0
_NO_LIMIT = "1000000/hour burst 1000000"  # limits are counted by the clock that the test sets


class RevocationProcess:
    """A process: an app with its own caches, a clock that a test sets, and writes that a test can hold.

    :param url: the database, which the processes of a deployment share.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.time = self.skew_s = 0.0
        self._may_generate, self._waits = threading.Event(), threading.Event()
        self._request: threading.Thread | None = None
        self._response: dict[str, Any] | None = None
        self._held_write: Callable[[], object] | None = None
        self._holds_next_write = False
        self._runtime: Runtime | None = None

    def start(self, access_token_lifetime: int) -> None:
        """Start the app, or start it again with another lifetime of access tokens."""
        if self._runtime is not None:
            self._runtime.close()
        app = Flask("api")
        Valetkey(
            app,
            database_url=self._url,
            encryption_keys=(ENCRYPTION_KEY,),
            scopes=SCOPES,
            access_token_lifetime=access_token_lifetime,
            token_limit=_NO_LIMIT,
            revocation_limit=_NO_LIMIT,
            client_authentication_limit=_NO_LIMIT,
            embedded_worker=False,
            clock=lambda: self.time + self.skew_s,
        )
        add_api_routes(app)
        self._http = app.test_client()
        self._runtime = runtime = cast("Runtime", app.extensions["valetkey"])
        runtime.clock = lambda: self.time + self.skew_s
        runtime.feed.uptime = lambda: self.time  # no correction of the clock changes it
        generate, write = runtime.token_generator.generate_access_token, runtime.store.write

        def wait_and_generate(access: Access, **arguments: Any) -> Any:
            if threading.current_thread() is self._request:
                self._waits.set()
                self._may_generate.wait(10)
            return generate(access, **arguments)

        def write_or_hold(transaction: Transaction) -> bool:
            if not self._holds_next_write or not change_feed.announces(transaction):
                return write(transaction)
            self._holds_next_write = False
            self._held_write = self._hold(transaction, write)
            return True

        runtime.token_generator.generate_access_token = wait_and_generate  # type: ignore[method-assign]
        runtime.store.write = write_or_hold  # type: ignore[method-assign]

    @property
    def runtime(self) -> Runtime:
        assert self._runtime is not None
        return self._runtime

    @property
    def now(self) -> float:
        return self.runtime.clock()

    def set_clock(self, time: float, skew_s: float) -> None:
        """Set the time since the machine was started, and how much this process's clock differs from it."""
        self.time, self.skew_s = time, skew_s

    def begin_request(self, parameters: dict[str, str], auth: list[str]) -> None:
        """Send a token request, and stop it between its checks and the token, until ``finish_request``."""
        self._may_generate.clear()
        self._waits.clear()
        self._response = None

        def send() -> None:
            response = self._http.post("/oauth/token", data=parameters, auth=(auth[0], auth[1]))
            self._response = {"status": response.status_code, **(response.json or {})}
            self._waits.set()

        self._request = threading.Thread(target=send)
        self._request.start()
        self._waits.wait(10)

    def finish_request(self) -> dict[str, Any]:
        """Return the response to the token request."""
        self._may_generate.set()
        assert self._request is not None
        self._request.join(10)
        assert self._response is not None
        return self._response

    def request_token(self, parameters: dict[str, str], auth: list[str]) -> dict[str, Any]:
        response = self._http.post("/oauth/token", data=parameters, auth=(auth[0], auth[1]))
        return {"status": response.status_code, **(response.json or {})}

    def revoke_token(self, token: str, auth: list[str]) -> int:
        return self._http.post("/oauth/revoke", data={"token": token}, auth=(auth[0], auth[1])).status_code

    def find_refusals(self, tokens: list[str]) -> list[str]:
        """Return for each token why an API call with it is refused; an empty text if it is accepted."""
        return [self._find_refusal(token) for token in tokens]

    def _find_refusal(self, token: str) -> str:
        try:
            self.runtime.verifier.verify(token, self.now)
        except InvalidToken as refused:
            return f"{refused.description} ({refused.log_detail})"
        return ""

    def set_client_enabled(self, client_id: str, is_enabled: bool) -> None:
        client = clients.find(self.runtime.store, client_id, self.now)
        assert client is not None
        (enable_client if is_enabled else disable_client)(self.runtime.store, client, self.runtime.clock())

    def revoke_owner(self, sub: str) -> None:
        """Revoke all grants and tokens of a user, as ``Valetkey.revoke_owner`` does."""
        end_owner(self.runtime, sub, self.now)

    def set_owner_enabled(self, sub: str, is_enabled: bool) -> None:
        """Disable or enable an account, as the command line does."""
        (enable_account if is_enabled else disable_account)(sub, self.runtime, self.now)

    def withdraw_consent(self, sub: str, client_id: str) -> None:
        revoke_connected_app(sub, client_id, None, self.runtime.store, self.now)

    def withdraw_scope(self, sub: str, client_id: str, name: str) -> None:
        self.runtime.store.write_all(*scope_withdrawal.withdrawal_statements(sub, client_id, name, self.now))

    def create_grant(self, sub: str, client_id: str, scope: str) -> list[str] | None:
        """Create a grant, and return its id and a refresh token; ``None`` if owner or client cannot be used."""
        runtime, now = self.runtime, self.now
        try:
            seen = check_still_active(sub, client_id, runtime, now)
        except OAuthError:
            return None
        resources = json.dumps([runtime.settings.api_resource])
        client = runtime.clients.find_cached(client_id, now)
        assert client is not None
        grant = new_grant(Owner(sub), client, scope=scope, resources=resources, now=now, expires_at=now + 90 * DAY_S)
        refresh_token = issue_refresh_token(grant, runtime.settings, now)
        consent = consents.remember(Consent(sub, client_id, scope, now, now, None))
        runtime.store.write(Transaction(rows=(consent, grants.add_unless_revoked(grant, seen), *refresh_token.rows)))
        return [grant.grant_id, refresh_token.secret.reveal()]

    def create_personal_token(self, sub: str) -> str | None:
        """Create a personal access token, and return its value; ``None`` if the owner cannot be used."""
        spec = TokenSpec("CI", frozenset({"profile"}), self.now + 30 * DAY_S)
        try:
            return create_personal_token(spec, Owner(sub), self.runtime, self.now, None).secret.reveal()
        except OAuthError:
            return None

    def prune(self) -> None:
        prune(self.runtime.store, self.now)

    def hold_next_write(self) -> None:
        """Hold the next write before its commit, until ``commit_held_write``."""
        self._holds_next_write = True

    def commit_held_write(self) -> None:
        self._holds_next_write = False
        held, self._held_write = self._held_write, None
        if held is not None:
            held()
            self.runtime.feed.invalidate()
            self.runtime.feed.refresh()

    def _hold(self, transaction: Transaction, write: Callable[[Transaction], bool]) -> Callable[[], object]:
        """Return a function that commits. On SQLite, with its one writer, a write that takes long waits first."""
        if self.runtime.store.dialect == "sqlite":
            return partial(write, transaction)
        import psycopg

        connection = psycopg.connect(self._url)
        locks = [lock for statement in transaction.rows for lock in statement.locks]
        for statement in (*locks, *transaction.rows):
            connection.execute(*sql_and_values(statement, "postgresql", self.runtime.clock))

        def commit() -> None:
            connection.commit()
            connection.close()

        return commit


class ChildProcess:
    """A ``RevocationProcess`` in a child process. Its methods are called by name."""

    def __init__(self, url: str) -> None:
        command = [sys.executable, "-m", "tests.support.revocation_process", url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, method: str, *arguments: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([method, arguments]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "the child process ended"}')
        if "error" in answer:
            raise (StoreUnavailable if answer["error"].startswith("Store") else AssertionError)(answer["error"])
        return answer["result"]

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)


def main() -> None:
    """Read calls from standard input, a line of JSON each, and write their results to standard output."""
    process = RevocationProcess(sys.argv[1])
    for line in sys.stdin:
        method, arguments = json.loads(line)
        try:
            answer = {"result": getattr(process, method)(*arguments)}
        except Exception as error:  # the test reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
