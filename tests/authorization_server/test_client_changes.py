"""Changes of a client's registration that meet: by the client itself (RFC 7592), by the operator, and both at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.conformance.registration import call_configuration_endpoint
from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK
from valetkey.authorization_server.clients import management_endpoint
from valetkey.authorization_server.clients.initial_access_token import create_initial_access_token
from valetkey.authorization_server.clients.operator_metadata import RegistrationRefused
from valetkey.authorization_server.clients.service import disable_client, enable_client, register_client
from valetkey.authorization_server.clients.update import check_update, write_update
from valetkey.runtime import Runtime
from valetkey.storage import clients
from valetkey.storage.clients import Client

SCOPES = {"notes:read": "Read your notes", "notes:write": "Change your notes", "admin": "Administer the server"}


@pytest.fixture
def app(make_app: MakeApp, store_url: str) -> Flask:
    return make_app(store_url, scopes=SCOPES, registration_policy="open")


def find(runtime: Runtime, client_id: str) -> Client:
    client = clients.find(runtime.store, client_id, runtime.clock())
    assert client
    return client


def change_scope(runtime: Runtime, client_id: str, scope: str) -> None:
    """Do what ``valetkey clients update --scope`` does."""
    update = check_update(runtime.settings, find(runtime, client_id), {"scope": scope}, None)
    write_update(runtime, update, runtime.clock(), keep_consents=False)


def replace_registration(app: Flask, information: Any, **metadata: Any) -> Any:
    document = {"client_id": information["client_id"], "redirect_uris": [CALLBACK], **metadata}
    return call_configuration_endpoint(app.test_client(), information, "PUT", json=document)


@pytest.fixture
def information(app: Flask) -> Any:
    """The client information response of a client that registered itself."""
    return app.test_client().post("/oauth/register", json={"redirect_uris": [CALLBACK]}).json


@pytest.fixture
def during_the_next_change(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Return a function that makes a change by the client call something after it has read the client."""

    def interrupt(action: Callable[[], None]) -> None:
        validate = management_endpoint.validate_metadata

        def validate_later(*arguments: Any) -> Any:
            action()
            return validate(*arguments)

        monkeypatch.setattr(management_endpoint, "validate_metadata", validate_later)

    return interrupt


def test_a_client_that_changes_itself_while_the_operator_disables_it_stays_disabled(
    app: Flask, runtime: Runtime, information: Any, during_the_next_change: Any
) -> None:
    """The client could make its own request slow: the server fetches its ``sector_identifier_uri`` meanwhile."""
    client_id = information["client_id"]
    during_the_next_change(lambda: disable_client(runtime.store, find(runtime, client_id), runtime.clock()))

    refused = replace_registration(app, information, client_name="Shop")

    assert (refused.status_code, refused.json["error_description"]) == (403, "the client is disabled")
    assert find(runtime, client_id).disabled_at is not None
    assert find(runtime, client_id).metadata.get("client_name") is None


def test_a_change_by_the_operator_is_not_lost_if_the_client_changes_itself_at_the_same_time(
    app: Flask, runtime: Runtime, information: Any, during_the_next_change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_id = information["client_id"]
    during_the_next_change(lambda: change_scope(runtime, client_id, "notes:read"))

    refused = replace_registration(app, information, client_name="Shop")
    monkeypatch.undo()
    again = replace_registration(app, information, client_name="Shop")

    assert refused.status_code == 400
    assert "send the request again" in refused.json["error_description"]
    assert again.status_code == 200, "the registration access token was not used up"
    assert find(runtime, client_id).scope == {"notes:read"}


@pytest.mark.parametrize("ends", ["disabled", "removed", "changed"])
def test_an_update_by_the_operator_of_a_client_that_has_changed_since_it_was_shown_writes_nothing(
    runtime: Runtime, ends: str
) -> None:
    """The command shows the change and asks; somebody else may be faster."""
    now = runtime.clock()
    client_id = register_client(runtime, now, name="Shop", policy="web", redirect_uris=[CALLBACK]).client_id
    update = check_update(runtime.settings, find(runtime, client_id), {"client_name": "Store"}, None)
    if ends == "disabled":
        disable_client(runtime.store, update.client, now)
    elif ends == "removed":
        runtime.store.write_all(clients.remove(client_id))
    else:
        change_scope(runtime, client_id, "notes:read")
    before = clients.find(runtime.store, client_id, now)

    with pytest.raises(RegistrationRefused, match="nothing was written"):
        write_update(runtime, update, now, keep_consents=True)

    assert clients.find(runtime.store, client_id, now) == before


def test_a_client_with_an_initial_access_token_cannot_give_itself_more_scopes(app: Flask, runtime: Runtime) -> None:
    """Decision 32: the scope was part of the approval."""
    token = create_initial_access_token(
        runtime.store, runtime.clock(), policy="machine", lifetime_s=3600, max_uses=1
    ).reveal()
    sent = {"grant_types": ["client_credentials"], "scope": "notes:read notes:write"}
    http = app.test_client()
    information = http.post("/oauth/register", json=sent, headers={"Authorization": f"Bearer {token}"}).json

    document = {"client_id": information["client_id"], "grant_types": ["client_credentials"]}
    widened = call_configuration_endpoint(http, information, "PUT", json={**document, "scope": "notes:read admin"}).json
    assert widened["scope"] == "notes:read"
    assert widened["scope_notice"] == "not registered: admin (not in the registration)"

    refused = call_configuration_endpoint(http, widened, "PUT", json={**document, "scope": "admin"})
    assert (refused.status_code, refused.json["error"]) == (400, "invalid_client_metadata")

    omitted = call_configuration_endpoint(http, widened, "PUT", json=document).json
    assert omitted["scope"] == "notes:read", "the limit stays if the request names no scope"


def test_a_client_cannot_remove_the_limit_that_the_operator_has_set(
    app: Flask, runtime: Runtime, information: Any
) -> None:
    client_id = information["client_id"]
    change_scope(runtime, client_id, "notes:read")

    answer = replace_registration(app, information, scope="notes:read admin")

    assert answer.status_code == 200
    assert find(runtime, client_id).scope == {"notes:read"}
    assert "default_scope" not in find(runtime, client_id).metadata


def test_with_the_policy_approve_a_client_may_ask_the_operator_for_more_scopes(
    make_app: MakeApp, store_url: str
) -> None:
    app = make_app(store_url, scopes=SCOPES, registration_policy="approve")
    runtime: Runtime = app.extensions["valetkey"]
    sent = {"redirect_uris": [CALLBACK], "scope": "notes:read"}
    information = app.test_client().post("/oauth/register", json=sent).json

    assert replace_registration(app, information, scope="notes:read admin").json["scope"] == "admin notes:read"
    assert find(runtime, information["client_id"]).disabled_at is not None


def test_the_operator_approves_only_the_registration_that_was_shown(make_app: MakeApp, store_url: str) -> None:
    """A client that waits may change itself as often as it likes."""
    app = make_app(store_url, scopes=SCOPES, registration_policy="approve")
    runtime: Runtime = app.extensions["valetkey"]
    information = app.test_client().post("/oauth/register", json={"redirect_uris": [CALLBACK]}).json
    shown = find(runtime, information["client_id"])
    assert replace_registration(app, information, redirect_uris=["https://evil.example/"]).status_code == 200

    with pytest.raises(RegistrationRefused, match="nothing was written"):
        enable_client(runtime.store, shown, runtime.clock())

    assert find(runtime, information["client_id"]).disabled_at is not None
    enable_client(runtime.store, find(runtime, information["client_id"]), runtime.clock())
    assert find(runtime, information["client_id"]).disabled_at is None
