"""Requests with the same Idempotency-Key run the view only once, whichever process they arrive at."""

from __future__ import annotations

import json
from collections import Counter

from tests.races.service import Service
from tests.support.concurrent_requests import RawRequest, post_request, send_together


def obtain_token(service: Service) -> str:
    """Register a machine client and return an access token for it."""
    client = service.deployment.create_client("machine")
    fields = [("grant_type", "client_credentials"), ("scope", "profile")]
    auth = (client["client_id"], client["client_secret"])
    [response] = send_together([post_request(service.ports[0], "/oauth/token", fields, auth=auth)])
    return str(json.loads(response.body)["access_token"])


def order_request(port: int, token: str, key: str) -> RawRequest:
    """Return a POST request with an access token and an idempotency key."""
    fields = f"Authorization: Bearer {token}\r\nIdempotency-Key: {key}\r\nConnection: close".encode()
    request = post_request(port, "/api/orders", [("what", "a book")])
    host = f"Host: 127.0.0.1:{port}".encode()
    content = request.content.replace(
        host, b"Host: api.example.com"
    )  # both processes serve one host, as behind a proxy
    return RawRequest(port, content.replace(b"Connection: close", fields))


def test_of_100_simultaneous_posts_one_runs_and_the_others_get_409_or_its_response(service: Service) -> None:
    token = obtain_token(service)

    responses = send_together([order_request(service.ports[number % 2], token, "k1") for number in range(100)])

    statuses = Counter(response.status for response in responses)
    assert statuses.keys() <= {201, 409}, statuses
    created = [response for response in responses if response.status == 201]
    assert len([response for response in created if "idempotent-replayed" not in response.headers]) == 1
    [later] = send_together([order_request(service.ports[1], token, "k1")])
    assert {response.body for response in created} == {later.body}


def test_simultaneous_posts_with_different_keys_all_run(service: Service) -> None:
    token = obtain_token(service)

    responses = send_together(
        [order_request(service.ports[number % 2], token, f"own-{number}") for number in range(40)]
    )

    assert {response.status for response in responses} == {201}
    assert len({response.body for response in responses}) == 40
