"""A server that is told to end writes down what it only remembered: calls are metered, unspent quota is given back."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.support.valetkey_server import LIMITED_API_FILE, Deployment, RunningServer

CALLS = 120


def test_two_workers_that_are_told_to_end_lose_no_call_and_no_quota(deployment: Deployment) -> None:
    plans = {"free": {"quota": "100000/month"}}
    deployed = Deployment(
        deployment.data_dir,
        app=LIMITED_API_FILE,
        settings={**deployment.settings, "plans": plans, "default_plan": "free"},
    )
    made = deployed.create_client("machine")
    auth = (made["client_id"], made["client_secret"])
    with RunningServer(deployed, workers=2) as server, httpx.Client(base_url=server.url) as http:
        token = http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=auth).json()["access_token"]
        time.sleep(1.1)  # what follows is written by nobody but the end

        def call(_: int) -> int:
            return http.get("/api/protected", headers={"Authorization": f"Bearer {token}"}).status_code

        with ThreadPoolExecutor(8) as crowd:
            statuses = list(crowd.map(call, range(CALLS)))
        assert server.stop() == 0
        assert "Traceback" not in server.log

    told = json.loads(deployed.run("usage", "--client", made["client_id"], "--json"))
    assert set(statuses) == {200}
    assert sum(one["calls"] for one in told["usage"]) == CALLS, told
    assert told["remaining"] == 100_000 - CALLS, told
