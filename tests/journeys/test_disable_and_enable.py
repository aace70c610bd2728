"""The operator disables a user or an app, and enables them again."""

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
    """The tokens of the app for Olu."""
    api.first.deployment.create_user(EMAIL, PASSWORD, name="Olu")
    with User(EMAIL, PASSWORD) as olu:
        yield app.redeem(olu.allow(app.start_authorization(api.first.metadata, scope="profile")))


def test_tokens_from_before_stay_revoked_after_disable_and_enable(
    api: ApiServers, app: ThirdPartyApp, tokens: dict[str, Any]
) -> None:
    run = api.first.deployment.run

    run("clients", "disable", app.client_id)
    api.assert_revoked_everywhere_within_one_second(tokens["access_token"])
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_client"
    run("clients", "enable", app.client_id)
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"

    time.sleep(1.2)  # tokens issued within a second of `clients disable` are revoked too
    with User(EMAIL, PASSWORD) as olu:
        new_tokens = app.redeem(olu.allow(app.start_authorization(api.first.metadata, scope="profile")))
        assert api.call(new_tokens["access_token"]).status_code == 200

        run("users", "disable", EMAIL)
        api.assert_revoked_everywhere_within_one_second(new_tokens["access_token"])
        assert olu.get_page(f"{api.url}/account").url.path == "/account/sign-in"
        assert app.refresh(new_tokens["refresh_token"]).json()["error"] == "invalid_grant"
        database_url = f"sqlite:///{api.first.deployment.data_dir / 'valetkey.db'}"
        # as if the grant was created while the account was being disabled
        execute(database_url, "UPDATE valetkey_grants SET revoked_at = NULL")
        run("users", "enable", EMAIL)
        assert app.refresh(new_tokens["refresh_token"]).json()["error"] == "invalid_grant"
