"""A POST with an Idempotency-Key is done once, however many arrive at whichever process."""

from __future__ import annotations

import json
from collections import Counter

from tests.races.service import Service
from tests.support.concurrent_requests import RawRequest, post_request, send_together


def token(service: Service) -> str:
    made = service.deployment.create_client("machine")
    fields = [("grant_type", "client_credentials"), ("scope", "profile")]
    [answer] = send_together(
        [post_request(service.ports[0], "/oauth/token", fields, auth=(made["client_id"], made["client_secret"]))]
    )
    return str(json.loads(answer.body)["access_token"])


def order(port: int, bearer: str, key: str) -> RawRequest:
    fields = f"Authorization: Bearer {bearer}\r\nIdempotency-Key: {key}\r\nConnection: close".encode()
    plain = post_request(port, "/api/orders", [("what", "a book")])
    return RawRequest(port, plain.content.replace(b"Connection: close", fields))


def test_of_100_simultaneous_posts_one_is_done_and_the_others_wait_or_get_its_answer(service: Service) -> None:
    bearer = token(service)

    answers = send_together([order(service.ports[number % 2], bearer, "k1") for number in range(100)])

    statuses = Counter(answer.status for answer in answers)
    assert statuses.keys() <= {201, 409}, statuses
    done = [answer for answer in answers if answer.status == 201]
    assert len([answer for answer in done if "idempotent-replayed" not in answer.headers]) == 1
    [later] = send_together([order(service.ports[1], bearer, "k1")])
    assert {answer.body for answer in done} == {later.body}


def test_other_keys_at_the_same_moment_are_all_done(service: Service) -> None:
    bearer = token(service)

    answers = send_together([order(service.ports[number % 2], bearer, f"own-{number}") for number in range(40)])

    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 40
