"""The words of RFC 6749 as verbs: ask, answer, redeem, refresh, call; and a clock that a test moves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.protocol.pkce import s256
from valetkey.runtime import Runtime
from valetkey.storage import tables
from valetkey.storage.engine.statement import Statement
from valetkey.storage.engine.store import Store

ISSUER = "http://127.0.0.1:8000"
SCOPES = {"profile": "See your name and picture", "notes:read": "Read your notes", "notes:write": "Write notes"}
CODE_VERIFIER = "v" * 43
CALLBACK = "https://shop.example/back"
EMAIL, PASSWORD = "ada@example.org", "a violet tram in june"

# What a refusal leaves alone. The audit log, sessions and limits may tell of it.
PROTOCOL_TABLES = (
    tables.clients,
    tables.client_secrets,
    tables.registrations,
    tables.initial_access_tokens,
    tables.assertions,
    tables.accounts,
    tables.interactions,
    tables.consents,
    tables.grants,
    tables.codes,
    tables.device_codes,
    tables.refresh_tokens,
    tables.retry_answers,
    tables.access_tokens,
    tables.revocations,
    tables.personal_access_tokens,
)
assert tables.metadata is tables.metadata  # its tables count, too
_COUNT_STATEMENTS = {
    table.name: Statement(select(func.count()).select_from(table)) for table in tables.metadata.sorted_tables
}
_SECRET_PATTERN = re.compile(r"vk_(?:ac|at|dc|rt|pat|cs|ss|br|in|di|ia|ra)_\w{50}|eyJ[\w-]+\.[\w-]+\.[\w-]+|v{43}")


class Clock:
    """Time stands still until a test moves it."""

    def __init__(self, time: float = 1_900_000_000.0) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class Browser:
    """What a person's browser and a client's server do (RFC 6749 §4.1)."""

    http: FlaskClient
    client: CreatedClient

    @property
    def auth(self) -> tuple[str, str] | None:
        return (self.client.client_id, self.client.secret.reveal()) if self.client.secret else None

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.http.get(path, **options)

    def submit(self, path: str, data: dict[str, Any], page_path: str | None = None) -> TestResponse:
        """Send a form of ours, with the CSRF token that its page gives."""
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.http.get(page_path or path).text)
        return self.http.post(path, data={"csrf_token": token[1] if token else "", **data})

    def sign_up(self, email: str = EMAIL, password: str = PASSWORD, **fields: str) -> TestResponse:
        return self.submit("/account/sign-up", {"name": "Ada", "email": email, "password": password, **fields})

    def sign_in(self, email: str = EMAIL, password: str = PASSWORD, **fields: str) -> TestResponse:
        return self.submit("/account/sign-in", {"email": email, "password": password, **fields})

    def authorization_parameters(self, **changes: str | None) -> dict[str, str]:
        """The parameters of an authorization request; None leaves one out."""
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": CALLBACK,
            "scope": "profile",
            "state": "xyz",
            "code_challenge": s256(CODE_VERIFIER),
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def authorize(self, **changes: str | None) -> TestResponse:
        return self.http.get("/oauth/authorize", query_string=self.authorization_parameters(**changes))

    def approve(self, page_url: str, decision: str = "allow", scope: tuple[str, ...] = ("profile",)) -> TestResponse:
        """Answer the consent page at this URL."""
        path = urlsplit(page_url).path
        return self.submit(path, {"decision": decision, "scope": list(scope)})

    def obtain_code(self, *, scope: tuple[str, ...] = ("profile",), **changes: str | None) -> str:
        """A fresh code, whether or not the owner has to be asked."""
        asked = self.authorize(scope=" ".join(scope), **changes)
        if "/consent/" in asked.location:
            asked = self.approve(asked.location, scope=scope)
        return redirect_parameters(asked)["code"]

    def redeem(self, code: str, **changes: str | None) -> TestResponse:
        sent = {"code": code, "redirect_uri": CALLBACK, "code_verifier": CODE_VERIFIER, **changes}
        return self.request_token("authorization_code", **sent)

    def refresh(self, refresh_token: str, **changes: str | None) -> TestResponse:
        return self.request_token("refresh_token", refresh_token=refresh_token, **changes)

    def request_token(self, grant_type: str, **parameters: Any) -> TestResponse:
        return self.post("/oauth/token", grant_type=grant_type, **parameters)

    def obtain_tokens(self, **changes: Any) -> dict[str, Any]:
        """The answer of the token endpoint to a fresh code."""
        redeemed = self.redeem(self.obtain_code(**changes))
        assert redeemed.status_code == 200, redeemed.text
        return dict(redeemed.json or {})

    def revoke(self, token: str, **parameters: str | None) -> TestResponse:
        return self.post("/oauth/revoke", token=token, **parameters)

    def introspect(self, token: str, **parameters: str | None) -> TestResponse:
        return self.post("/oauth/introspect", token=token, **parameters)

    def post(self, path: str, **parameters: Any) -> TestResponse:
        """POST as this client, which proves itself by HTTP Basic or names itself."""
        if self.auth is None:
            parameters = {"client_id": self.client.client_id, **parameters}
        data = {name: value for name, value in parameters.items() if value is not None}
        return self.http.post(path, data=data, auth=self.auth)

    def call(self, token: str | None = None, path: str = "/api/protected", **options: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.http.get(path, headers=headers, **options)


def redirect_parameters(response: TestResponse) -> dict[str, str]:
    """The parameters that a redirect carries."""
    return dict(parse_qsl(urlsplit(response.location).query))


def count_rows(store: Store, table: str) -> int:
    row = store.fetch_one(_COUNT_STATEMENTS[table]())
    assert row is not None
    return int(row[0])


def count_protocol_rows(store: Store) -> dict[str, int]:
    """How many rows each of the protocol's tables has."""
    return {table.name: count_rows(store, table.name) for table in PROTOCOL_TABLES}


@contextmanager
def assert_store_unchanged(runtime: Runtime) -> Iterator[None]:
    """Whatever happens inside leaves the protocol's tables as they were."""
    before = count_protocol_rows(runtime.store)
    yield
    assert count_protocol_rows(runtime.store) == before


def find_secrets(text: str) -> list[str]:
    """The codes, tokens, secrets and verifiers that stand in a text."""
    return _SECRET_PATTERN.findall(text)
