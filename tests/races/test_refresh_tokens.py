"""A refresh token is used only once (RFC 9700 §4.14.2).

The tests failed once, on purpose, with a build that marked the token as used in two statements, a read and then an
``UPDATE`` without its condition ``used_at IS NULL``. Without a retry window, 10 of the 200 uses got tokens on SQLite
and 11 on PostgreSQL. With a retry window, 10 and 15 uses failed with 500, because another use had stored its response.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

from tests.races.service import Service
from tests.support.concurrent_requests import RawResponse, send_together
from tests.support.database import fetch_rows
from tests.support.web_app import parse_token_response


def test_200_simultaneous_uses_get_one_successor_in_equal_responses(service: Service) -> None:
    token = service.web_app.obtain_tokens(service.maya)["refresh_token"]
    responses = _use_200_times(service, service.ports, token)
    assert Counter(response.status for response in responses) == {200: 200}
    assert len({response.body for response in responses}) == 1
    assert _find_successors(service, token) == [_digest(parse_token_response(responses[0])["refresh_token"])]


def test_without_a_retry_window_one_of_200_uses_succeeds_and_the_token_family_is_revoked(service: Service) -> None:
    token = service.web_app.obtain_tokens(service.maya)["refresh_token"]
    responses = _use_200_times(service, service.strict_ports, token)
    assert Counter(response.status for response in responses) == {200: 1, 400: 199}
    errors = {parse_token_response(response)["error"] for response in responses if response.status == 400}
    assert errors == {"invalid_grant"}
    [tokens] = [parse_token_response(response) for response in responses if response.status == 200]
    assert _find_successors(service, token) == [_digest(tokens["refresh_token"])]
    [refused] = send_together([service.web_app.refresh_request(service.strict_ports[0], tokens["refresh_token"])])
    assert (refused.status, parse_token_response(refused)["error"]) == (400, "invalid_grant")
    for port in service.strict_ports:
        assert service.web_app.introspect(port, tokens["refresh_token"]) == {"active": False}


def _use_200_times(service: Service, ports: tuple[int, int], token: str) -> list[RawResponse]:
    return send_together([service.web_app.refresh_request(ports[number % 2], token) for number in range(200)])


def _find_successors(service: Service, token: str) -> list[bytes]:
    """Return the digests of the refresh tokens that were issued for this one."""
    rows = fetch_rows(service.database_url, "SELECT parent, digest FROM valetkey_refresh_tokens")
    return [bytes(digest) for parent, digest in rows if parent and bytes(parent) == _digest(token)]


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
