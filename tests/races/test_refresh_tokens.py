"""A refresh token is used once (RFC 9700 §4.14.2).

Shown once to fail where the claim is made in two statements, a read and then an ``UPDATE`` without its condition
``used_at IS NULL``: without a retry window 10 of the 200 uses got tokens on SQLite, 11 on PostgreSQL; with one, 10
and 15 met another's retry answer and failed with 500.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

from tests.races.service import Service
from tests.support.concurrent_requests import RawResponse, send_together
from tests.support.database import fetch_rows
from tests.support.web_app import parse_token_response


def test_200_simultaneous_uses_give_one_successor_and_one_answer(service: Service) -> None:
    used = service.web_app.obtain_tokens(service.maya)["refresh_token"]
    answers = _use_200_times(service, service.ports, used)
    assert Counter(answer.status for answer in answers) == {200: 200}
    assert len({answer.body for answer in answers}) == 1
    assert _successors(service, used) == [_digest(parse_token_response(answers[0])["refresh_token"])]


def test_without_a_retry_window_one_of_200_uses_wins_and_the_family_dies(service: Service) -> None:
    used = service.web_app.obtain_tokens(service.maya)["refresh_token"]
    answers = _use_200_times(service, service.strict_ports, used)
    assert Counter(answer.status for answer in answers) == {200: 1, 400: 199}
    assert {parse_token_response(answer)["error"] for answer in answers if answer.status == 400} == {"invalid_grant"}
    [tokens] = [parse_token_response(answer) for answer in answers if answer.status == 200]
    assert _successors(service, used) == [_digest(tokens["refresh_token"])]
    [refused] = send_together([service.web_app.refresh_request(service.strict_ports[0], tokens["refresh_token"])])
    assert (refused.status, parse_token_response(refused)["error"]) == (400, "invalid_grant")
    for port in service.strict_ports:
        assert service.web_app.introspect(port, tokens["refresh_token"]) == {"active": False}


def _use_200_times(service: Service, ports: tuple[int, int], token: str) -> list[RawResponse]:
    return send_together([service.web_app.refresh_request(ports[number % 2], token) for number in range(200)])


def _successors(service: Service, token: str) -> list[bytes]:
    found = fetch_rows(service.database_url, "SELECT parent, digest FROM valetkey_refresh_tokens")
    return [bytes(digest) for parent, digest in found if parent and bytes(parent) == _digest(token)]


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
