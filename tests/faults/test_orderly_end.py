"""A server that is stopped writes what it had only in memory: the usage counts, and the unspent part of quotas."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.support.valetkey_server import LIMITED_API_FILE, Deployment, RunningServer

CALLS = 120


def test_two_stopped_workers_lose_no_usage_count_and_no_unspent_quota(deployment: Deployment) -> None:
    plans = {"free": {"quota": "100000/month"}}
    deployment_with_plans = Deployment(
        deployment.data_dir,
        app=LIMITED_API_FILE,
        settings={**deployment.settings, "plans": plans, "default_plan": "free"},
    )
    client = deployment_with_plans.create_client("machine")
    auth = (client["client_id"], client["client_secret"])
    with RunningServer(deployment_with_plans, workers=2) as server, httpx.Client(base_url=server.url) as http:
        token = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth).json()["access_token"]
        time.sleep(1.1)  # the workers have written once, so the calls below are written only at the stop

        def call(_: int) -> int:
            return http.get("/api/protected", headers={"Authorization": f"Bearer {token}"}).status_code

        with ThreadPoolExecutor(8) as callers:
            statuses = list(callers.map(call, range(CALLS)))
        assert server.stop() == 0
        assert "Traceback" not in server.log

    usage = json.loads(deployment_with_plans.run("usage", "--client", client["client_id"], "--json"))
    assert set(statuses) == {200}
    assert sum(entry["calls"] for entry in usage["usage"]) == CALLS, usage
    assert usage["remaining"] == 100_000 - CALLS, usage
