"""The operator puts a person or an app out, and lets them back in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.journeys.api_servers import ApiServers
from tests.journeys.third_party_app import ThirdPartyApp
from tests.support.database import execute
from tests.support.user import PASSWORD, User

EMAIL = "olu@example.com"


@pytest.fixture
def tokens(api: ApiServers, app: ThirdPartyApp) -> Iterator[dict[str, Any]]:
    """What the app got from a person of its own."""
    api.first.deployment.create_user(EMAIL, PASSWORD, name="Olu")
    with User(EMAIL, PASSWORD) as olu:
        yield app.redeem(olu.allow(app.start_authorization(api.first.metadata, scope="profile")))


def test_who_is_put_out_and_let_back_in_needs_new_tokens(
    api: ApiServers, app: ThirdPartyApp, tokens: dict[str, Any]
) -> None:
    run = api.first.deployment.run

    run("clients", "disable", app.client_id)
    api.assert_revoked_everywhere_within_one_second(tokens["access_token"])
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_client"
    run("clients", "enable", app.client_id)
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"

    time.sleep(1.2)  # what was issued within a second of the app's being put out is dead too
    with User(EMAIL, PASSWORD) as olu:
        again = app.redeem(olu.allow(app.start_authorization(api.first.metadata, scope="profile")))
        assert api.call(again["access_token"]).status_code == 200

        run("users", "disable", EMAIL)
        api.assert_revoked_everywhere_within_one_second(again["access_token"])
        assert olu.get_page(f"{api.url}/account").url.path == "/account/sign-in"
        assert app.refresh(again["refresh_token"]).json()["error"] == "invalid_grant"
        late = f"sqlite:///{api.first.deployment.data_dir / 'valetkey.db'}"
        execute(late, "UPDATE valetkey_grants SET revoked_at = NULL")  # as if given while the person was put out
        run("users", "enable", EMAIL)
        assert app.refresh(again["refresh_token"]).json()["error"] == "invalid_grant"
