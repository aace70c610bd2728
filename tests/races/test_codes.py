"""An authorization code is redeemed once (RFC 6749 §4.1.2, RFC 9700 §4.5).

Shown once to fail where the claim is made in two statements, a read and then an ``UPDATE`` without its condition
``consumed_at IS NULL``: 6 of the 200 redemptions got tokens on SQLite, 15 on PostgreSQL.
"""

from __future__ import annotations

from collections import Counter

import httpx

from tests.races.conftest import Service
from tests.races.crowd import at_once
from tests.races.web_app import tokens_in
from tests.support.revoked import refused_within_a_second


def test_of_200_simultaneous_redemptions_one_wins_and_the_losers_revoke_what_it_got(service: Service) -> None:
    web_app = service.web_app
    code = web_app.code(service.maya)
    answers = at_once([web_app.redemption(service.ports[number % 2], code) for number in range(200)])
    assert Counter(answer.status for answer in answers) == {200: 1, 400: 199}
    assert {tokens_in(answer)["error"] for answer in answers if answer.status == 400} == {"invalid_grant"}
    [tokens] = [tokens_in(answer) for answer in answers if answer.status == 200]
    refused_within_a_second(lambda: [_status(port, tokens["access_token"]) for port in service.ports])
    for port in service.ports:
        assert web_app.introspect(port, tokens["refresh_token"]) == {"active": False}
        assert web_app.introspect(port, tokens["access_token"]) == {"active": False}
    [refused] = at_once([web_app.refresh(service.ports[0], tokens["refresh_token"])])
    assert (refused.status, tokens_in(refused)["error"]) == (400, "invalid_grant")


def _status(port: int, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"http://127.0.0.1:{port}/api/protected", headers=headers).status_code
