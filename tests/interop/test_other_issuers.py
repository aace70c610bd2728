"""A stand-alone resource server with access tokens of issuers in other processes: oidc-provider and Valetkey."""

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
SECRETS = {client["client_id"]: client["client_secret"] for client in CLIENTS}


@dataclass
class Provider:
    """npm's ``oidc-provider`` with two kinds of clients: their access tokens are JWTs or opaque."""

    issuer: str

    def post(self, path: str, client: str, **form: str) -> dict[str, Any]:
        response = httpx.post(f"{self.issuer}{path}", data=form, auth=(client, SECRETS[client]))
        assert response.is_success, response.text
        return dict(response.json()) if response.content else {}

    def machine_token(self, client: str, scope: str = "notes:read", resource: str = RESOURCE) -> str:
        response = self.post("/token", client, grant_type="client_credentials", scope=scope, resource=resource)
        return str(response["access_token"])

    def sign_in(self, client: str) -> dict[str, Any]:
        """Sign Maya in, consent, redeem the code and return the token response."""
        parameters = {
            "client_id": client,
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid offline_access notes:read",
            "resource": RESOURCE,
            "prompt": "consent",
            "nonce": "n",
        }
        with httpx.Client() as browser:
            response = browser.get(f"{self.issuer}/auth?{urlencode(parameters)}")
            for _ in range(15):
                if response.is_redirect:
                    target = urljoin(str(response.url), response.headers["Location"])
                    if target.startswith(CALLBACK):
                        break
                    response = browser.get(target)
                    continue
                form = parse_forms(response.text)[0]
                fields = {"login": "maya", "password": "any"} if form.has_field("password") else {}
                response = browser.post(urljoin(str(response.url), form.action), data=dict(form.fill_in(fields)))
        code = parse_qs(urlsplit(target).query)["code"][0]
        return self.post("/token", client, grant_type="authorization_code", code=code, redirect_uri=CALLBACK)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """Run the ``oidc-provider``."""
    if not (NODE_DIR / "node_modules" / "oidc-provider").is_dir():
        raise NotInstalled("oidc-provider is not installed: run `make test`")
    port, folder = free_port(), tmp_path_factory.mktemp("provider")
    program = Program(
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
    program.kill()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A Valetkey server for an API in another process."""
    scopes = {"notes:read": "Read your notes"}
    deployment = Deployment(tmp_path_factory.mktemp("service"), settings={"resource": RESOURCE, "scopes": scopes})
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    with RunningServer(deployment) as running:
        yield running


class Api:
    """A resource server that trusts these issuers."""

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
    introspection = IntrospectionClient(client_id="api", client_secret="api-secret", remember=1)
    return Api(TrustedIssuer(provider.issuer, introspection=introspection))


@pytest.mark.parametrize("client", ["signed", "opaque"])
def test_a_client_credentials_token_is_accepted_and_has_no_user(provider: Provider, api: Api, client: str) -> None:
    token = provider.machine_token(client)

    assert token.count(".") == (2 if client == "signed" else 0)
    assert api.call(token).json == {"issuer": provider.issuer, "user": None, "app": client}


@pytest.mark.parametrize("client", ["signed", "opaque"])
def test_a_users_access_token_is_accepted_but_not_the_id_token_or_refresh_token(
    provider: Provider, api: Api, client: str
) -> None:
    tokens = provider.sign_in(client)

    assert api.call(tokens["access_token"]).json == {"issuer": provider.issuer, "user": "maya", "app": client}
    assert api.call(tokens["id_token"]).status_code == 401
    assert api.call(tokens["refresh_token"]).status_code == 401


@pytest.mark.parametrize("client", ["signed", "opaque"])
def test_a_token_without_the_scope_or_for_another_resource_is_refused(
    provider: Provider, api: Api, client: str
) -> None:
    assert api.call(provider.machine_token(client, scope="notes:write")).status_code == 403
    assert api.call(provider.machine_token(client, resource="https://other.example.com")).status_code == 401


def test_a_revoked_opaque_token_is_refused_a_second_later(provider: Provider, api: Api) -> None:
    token = provider.machine_token("opaque")
    assert api.call(token).status_code == 200
    provider.post("/token/revocation", "opaque", token=token)
    until = time.monotonic() + 3

    while api.call(token).status_code == 200 and time.monotonic() < until:
        pass

    assert api.call(token).status_code == 401


def test_a_resource_server_can_trust_valetkey_and_another_issuer_at_once(
    service: RunningServer, provider: Provider, tmp_path: Path
) -> None:
    api = Api(TrustedIssuer(service.issuer, like="valetkey"), provider.issuer)
    created = service.deployment.create_client("machine", scope="notes:read")
    form = {"grant_type": "client_credentials", "scope": "notes:read"}
    tokens = httpx.post(
        service.metadata["token_endpoint"], data=form, auth=(created["client_id"], created["client_secret"])
    ).json()

    of_valetkey = api.call(tokens["access_token"])
    of_other_issuer = api.call(provider.machine_token("signed"))

    assert of_valetkey.json == {"issuer": service.issuer, "user": None, "app": created["client_id"]}
    assert of_other_issuer.json == {"issuer": provider.issuer, "user": None, "app": "signed"}


def test_a_users_token_of_another_valetkey_is_accepted_by_signature_and_by_introspection(
    service: RunningServer,
) -> None:
    app = service.deployment.create_client("web", scope="notes:read", redirect_uris=[CALLBACK])
    machine = service.deployment.create_client("machine", scope="notes:read")
    token = _obtain_access_token(service, app)
    introspection = IntrospectionClient(
        client_id=machine["client_id"], client_secret=machine["client_secret"], always=True, remember=0
    )
    by_signature = Api(TrustedIssuer(service.issuer, like="valetkey"))
    by_introspection = Api(TrustedIssuer(service.issuer, like="valetkey", introspection=introspection))

    users = {api.call(token).json["user"] for api in (by_signature, by_introspection)}

    assert len(users) == 1
    assert None not in users
    httpx.post(
        service.metadata["revocation_endpoint"], data={"token": token}, auth=(app["client_id"], app["client_secret"])
    ).raise_for_status()
    assert by_introspection.call(token).status_code == 401


def _obtain_access_token(service: RunningServer, app: dict[str, Any]) -> str:
    """Let Maya allow the app access and return its access token."""
    verifier = "v" * 43
    parameters = {
        "client_id": app["client_id"],
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "scope": "notes:read",
        "code_challenge": s256(verifier),
        "code_challenge_method": "S256",
    }
    with User(EMAIL, PASSWORD) as maya:
        redirect_url = maya.allow(f"{service.metadata['authorization_endpoint']}?{urlencode(parameters)}")
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(redirect_url).query)["code"][0],
        "redirect_uri": CALLBACK,
        "code_verifier": verifier,
    }
    response = httpx.post(service.metadata["token_endpoint"], data=form, auth=(app["client_id"], app["client_secret"]))
    return str(response.raise_for_status().json()["access_token"])
