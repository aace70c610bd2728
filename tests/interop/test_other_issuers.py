"""A resource server alone, and the access tokens of servers that run in other processes: oidc-provider, Valetkey."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx
import pytest
from flask import Flask, jsonify

from tests.interop.node_program import NODE_DIR
from tests.support.form import parse_forms
from tests.support.program import NotInstalled, Program, accepts_connections, find_program, free_port
from tests.support.user import CALLBACK, EMAIL, PASSWORD, User
from tests.support.valetkey_server import Deployment, RunningServer
from valetkey import IntrospectionClient, ResourceServer, TrustedIssuer, current_token, require_oauth
from valetkey.protocol.pkce import s256

RESOURCE = "https://api.example.com"
CLIENTS = [
    {"client_id": "signed", "client_secret": "signed-secret", "format": "jwt"},
    {"client_id": "opaque", "client_secret": "opaque-secret", "format": "opaque"},
    {"client_id": "api", "client_secret": "api-secret", "format": "opaque"},
]
SECRETS = {one["client_id"]: one["client_secret"] for one in CLIENTS}


@dataclass
class Provider:
    """npm's ``oidc-provider`` with clients whose access tokens are JWTs, and others whose tokens are opaque."""

    issuer: str

    def post(self, path: str, client: str, **form: str) -> dict[str, Any]:
        answered = httpx.post(f"{self.issuer}{path}", data=form, auth=(client, SECRETS[client]))
        assert answered.is_success, answered.text
        return dict(answered.json()) if answered.content else {}

    def machine_token(self, client: str, scope: str = "notes:read", resource: str = RESOURCE) -> str:
        answered = self.post("/token", client, grant_type="client_credentials", scope=scope, resource=resource)
        return str(answered["access_token"])

    def sign_in(self, client: str) -> dict[str, Any]:
        """Maya signs in and consents; what the app gets for the code."""
        asked = {
            "client_id": client,
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid offline_access notes:read",
            "resource": RESOURCE,
            "prompt": "consent",
            "nonce": "n",
        }
        with httpx.Client() as browser:
            answered = browser.get(f"{self.issuer}/auth?{urlencode(asked)}")
            for _ in range(15):
                if answered.is_redirect:
                    target = urljoin(str(answered.url), answered.headers["Location"])
                    if target.startswith(CALLBACK):
                        break
                    answered = browser.get(target)
                    continue
                form = parse_forms(answered.text)[0]
                written = {"login": "maya", "password": "any"} if form.has_field("password") else {}
                answered = browser.post(urljoin(str(answered.url), form.action), data=dict(form.fill_in(written)))
        code = parse_qs(urlsplit(target).query)["code"][0]
        return self.post("/token", client, grant_type="authorization_code", code=code, redirect_uri=CALLBACK)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    if not (NODE_DIR / "node_modules" / "oidc-provider").is_dir():
        raise NotInstalled("oidc-provider is not installed: run `make test`")
    port, folder = free_port(), tmp_path_factory.mktemp("provider")
    running = Program(
        [find_program(["node"], package="nodejs"), str(NODE_DIR / "issuing_provider.mjs")],
        log=folder / "provider.log",
        is_ready=lambda: accepts_connections(port),
        environment={
            **os.environ,
            "CONFIGURATION": json.dumps({"port": port, "resource": RESOURCE, "clients": CLIENTS}),
        },
        cwd=folder,
    )
    yield Provider(f"http://127.0.0.1:{port}")
    running.kill()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Valetkey whose API lives elsewhere."""
    scopes = {"notes:read": "Read your notes"}
    deployment = Deployment(tmp_path_factory.mktemp("service"), settings={"resource": RESOURCE, "scopes": scopes})
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    with RunningServer(deployment) as running:
        yield running


class Api:
    def __init__(self, *issuers: str | TrustedIssuer) -> None:
        self.app = Flask("api")
        ResourceServer(
            self.app,
            trusted_issuers=issuers,
            resource=RESOURCE,
            outbound_allowed_networks=("127.0.0.1/32",),
        )

        @self.app.get("/api/notes")
        @require_oauth("notes:read")
        def notes() -> Any:
            return jsonify(issuer=current_token.issuer, user=current_token.user_id, app=current_token.client_id)

    def call(self, token: str) -> Any:
        return self.app.test_client().get("/api/notes", headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def api(provider: Provider) -> Api:
    asked = IntrospectionClient(client_id="api", client_secret="api-secret", remember=1)
    return Api(TrustedIssuer(provider.issuer, introspection=asked))


@pytest.mark.parametrize("client", ["signed", "opaque"])
def test_a_machines_token_passes_and_speaks_for_no_person(provider: Provider, api: Api, client: str) -> None:
    token = provider.machine_token(client)

    assert token.count(".") == (2 if client == "signed" else 0)
    assert api.call(token).json == {"issuer": provider.issuer, "user": None, "app": client}


@pytest.mark.parametrize("client", ["signed", "opaque"])
def test_a_persons_token_passes_and_her_other_tokens_do_not(provider: Provider, api: Api, client: str) -> None:
    got = provider.sign_in(client)

    assert api.call(got["access_token"]).json == {"issuer": provider.issuer, "user": "maya", "app": client}
    assert api.call(got["id_token"]).status_code == 401
    assert api.call(got["refresh_token"]).status_code == 401


@pytest.mark.parametrize("client", ["signed", "opaque"])
def test_a_token_of_too_little_scope_or_for_another_api_does_not_pass(
    provider: Provider, api: Api, client: str
) -> None:
    assert api.call(provider.machine_token(client, scope="notes:write")).status_code == 403
    assert api.call(provider.machine_token(client, resource="https://other.example.com")).status_code == 401


def test_an_opaque_token_that_was_revoked_is_refused_a_second_later(provider: Provider, api: Api) -> None:
    token = provider.machine_token("opaque")
    assert api.call(token).status_code == 200
    provider.post("/token/revocation", "opaque", token=token)
    until = time.monotonic() + 3

    while api.call(token).status_code == 200 and time.monotonic() < until:
        pass

    assert api.call(token).status_code == 401


def test_a_valetkey_and_another_server_are_trusted_at_once(
    service: RunningServer, provider: Provider, tmp_path: Path
) -> None:
    api = Api(TrustedIssuer(service.issuer, like="valetkey"), provider.issuer)
    made = service.deployment.create_client("machine", scope="notes:read")
    form = {"grant_type": "client_credentials", "scope": "notes:read"}
    answered = httpx.post(
        service.metadata["token_endpoint"], data=form, auth=(made["client_id"], made["client_secret"])
    ).json()

    ours = api.call(answered["access_token"])
    theirs = api.call(provider.machine_token("signed"))

    assert ours.json == {"issuer": service.issuer, "user": None, "app": made["client_id"]}
    assert theirs.json == {"issuer": provider.issuer, "user": None, "app": "signed"}


def test_a_persons_token_of_a_valetkey_elsewhere_passes_by_its_signature_and_by_introspection(
    service: RunningServer,
) -> None:
    app = service.deployment.create_client("web", scope="notes:read", redirect_uris=[CALLBACK])
    machine = service.deployment.create_client("machine", scope="notes:read")
    token = _authorized(service, app)
    always = IntrospectionClient(
        client_id=machine["client_id"], client_secret=machine["client_secret"], always=True, remember=0
    )
    signed = Api(TrustedIssuer(service.issuer, like="valetkey"))
    asked = Api(TrustedIssuer(service.issuer, like="valetkey", introspection=always))

    people = {api.call(token).json["user"] for api in (signed, asked)}

    assert len(people) == 1
    assert None not in people
    httpx.post(
        service.metadata["revocation_endpoint"], data={"token": token}, auth=(app["client_id"], app["client_secret"])
    ).raise_for_status()
    assert asked.call(token).status_code == 401


def _authorized(service: RunningServer, app: dict[str, Any]) -> str:
    """The access token that Maya gives the app."""
    verifier = "v" * 43
    asked = {
        "client_id": app["client_id"],
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "scope": "notes:read",
        "code_challenge": s256(verifier),
        "code_challenge_method": "S256",
    }
    with User(EMAIL, PASSWORD) as maya:
        reached = maya.allow(f"{service.metadata['authorization_endpoint']}?{urlencode(asked)}")
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(reached).query)["code"][0],
        "redirect_uri": CALLBACK,
        "code_verifier": verifier,
    }
    answered = httpx.post(service.metadata["token_endpoint"], data=form, auth=(app["client_id"], app["client_secret"]))
    return str(answered.raise_for_status().json()["access_token"])
