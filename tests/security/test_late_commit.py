"""A revocation whose commit takes long is seen by another process within a second of the commit, in real time."""

from __future__ import annotations

import os
import time

import psycopg
from flask import Flask

from tests.support.app import ENCRYPTION_KEY, add_api_routes
from tests.support.browser_client import SCOPES, Browser
from tests.support.revocation import assert_revoked_within_one_second
from valetkey import Valetkey
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.storage import change_feed
from valetkey.storage.engine.statement import sql_and_values

HOLD_S = 30 if "SOAK_SECONDS" in os.environ else 3  # longer than every interval of the change feed


def start(url: str) -> tuple[Flask, Runtime]:
    app = Flask("api")
    Valetkey(app, database_url=url, encryption_keys=(ENCRYPTION_KEY,), scopes=SCOPES, embedded_worker=False)
    add_api_routes(app)
    return app, app.extensions["valetkey"]


def test_a_revocation_that_is_committed_after_others_is_seen_within_a_second(postgresql_store_url: str) -> None:
    (here, runtime), (there, other_runtime) = start(postgresql_store_url), start(postgresql_store_url)
    robot = Browser(here.test_client(), register_client(runtime, runtime.clock(), name="Robot", policy="machine"))
    elsewhere = Browser(there.test_client(), robot.client)
    tokens = [
        robot.request_token("client_credentials", scope="profile").json["access_token"] for _ in range(HOLD_S + 1)
    ]
    token = runtime.verifier.verify(tokens[0], runtime.clock())
    with psycopg.connect(postgresql_store_url) as held:
        statement = change_feed.add_token(token.jti, token.expires_at)
        held.execute(*sql_and_values(statement, "postgresql", time.time))
        for other in tokens[1:]:
            robot.revoke(other)
            time.sleep(1)
            assert elsewhere.call(other).status_code == 401
            assert elsewhere.call(tokens[0]).status_code == 200

    assert_revoked_within_one_second(lambda: [each.call(tokens[0]).status_code for each in (robot, elsewhere)])
    runtime.close()
    other_runtime.close()
