"""An authorization code is redeemed only once (RFC 6749 §4.1.2, RFC 9700 §4.5).

The test failed once, on purpose, with a build that marked the code as redeemed in two statements, a read and then an
``UPDATE`` without its condition ``consumed_at IS NULL``: 6 of the 200 redemptions got tokens on SQLite, 15 on
PostgreSQL.
"""

from __future__ import annotations

from collections import Counter

import httpx

from tests.races.service import Service
from tests.support.concurrent_requests import RawResponse, send_together
from tests.support.revocation import assert_revoked_within_one_second
from tests.support.web_app import parse_token_response


def test_of_200_simultaneous_redemptions_one_succeeds_and_the_others_revoke_its_tokens(service: Service) -> None:
    web_app = service.web_app
    code = web_app.obtain_code(service.maya)
    responses = send_together([web_app.redemption_request(service.ports[number % 2], code) for number in range(200)])
    assert Counter(response.status for response in responses) == {200: 1, 400: 199}
    assert {_error(response) for response in responses if response.status == 400} == {"invalid_grant"}
    [tokens] = [parse_token_response(response) for response in responses if response.status == 200]
    assert_revoked_within_one_second(lambda: [_status(port, tokens["access_token"]) for port in service.ports])
    for port in service.ports:
        assert web_app.introspect(port, tokens["refresh_token"]) == {"active": False}
        assert web_app.introspect(port, tokens["access_token"]) == {"active": False}
    [refused] = send_together([web_app.refresh_request(service.ports[0], tokens["refresh_token"])])
    assert (refused.status, _error(refused)) == (400, "invalid_grant")


def _error(response: RawResponse) -> str:
    return str(parse_token_response(response)["error"])


def _status(port: int, token: str) -> int:
    """Call the API and return the status of the response."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"http://127.0.0.1:{port}/api/protected", headers=headers).status_code
