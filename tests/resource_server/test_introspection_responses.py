"""What an introspection response may say (RFC 7662 §2.2): members, kinds of tokens, opaque tokens with dots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.resource_server.fake_issuer import INTROSPECTION_PATH, RESOURCE, FakeIssuer
from tests.resource_server.standalone_api import StandaloneApi
from tests.support.clock import Clock
from valetkey import IntrospectionClient, TrustedIssuer

CLIENT = IntrospectionClient(client_id="notes api", client_secret="s3cret")


@pytest.fixture
def issuer(clock: Clock) -> Iterator[FakeIssuer]:
    with FakeIssuer(clock) as running:
        running.introspection_responses["opaque"] = {"active": True, "token_type": "Bearer", **running.claims()}
        yield running


@pytest.fixture
def api(clock: Clock, issuer: FakeIssuer) -> StandaloneApi:
    return StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=CLIENT))


BAD_RESPONSES: dict[str, dict[str, Any]] = {
    "active is a string": {"active": "true"},
    "active is a number": {"active": 1},
    "expired": {"exp": 1},
    "for another API": {"aud": "https://other.example.com"},
    "without an audience": {"aud": None},
    "of another issuer": {"iss": "https://other.example.com"},
    "bound to a key": {"cnf": {"jkt": "x"}},
    "of type DPoP": {"token_type": "DPoP"},
    "a refresh token of Keycloak": {"typ": "Refresh"},
    "a refresh token of Ory Hydra": {"token_use": "refresh_token"},
    "an ID token of Cognito": {"token_use": "id"},
    "a refresh token by its token_type": {"token_type": "refresh_token"},
    "a list as token_use": {"token_use": ["access"]},
    "an ID token of Keycloak with a scope": {"typ": "ID", "nonce": "n"},
    "an ID token by its nonce": {"nonce": "n", "scope": None},
    "an ID token by its nonce, with an empty scope": {"nonce": "n", "scope": ""},
    "an ID token by its at_hash": {"at_hash": "h", "scope": None},
    "a logout token": {"events": {}, "scope": None},
    "without a client": {"client_id": None},
    "not yet valid": {"nbf": 4_000_000_000},
}


@pytest.mark.parametrize("changes", BAD_RESPONSES.values(), ids=BAD_RESPONSES)
def test_a_token_whose_response_does_not_fit_is_refused(
    api: StandaloneApi, issuer: FakeIssuer, changes: dict[str, Any]
) -> None:
    changed = {**issuer.introspection_responses["opaque"], **changes}
    issuer.introspection_responses["opaque"] = {name: value for name, value in changed.items() if value is not None}

    assert api.call("opaque").status_code == 401


@pytest.mark.parametrize(
    "members",
    [
        {"token_use": "access_token"},
        {"token_use": "access"},
        {"token_type": "bearer"},
        {"token_type": "access_token"},
        {"typ": "Bearer", "nonce": "n"},
        {"nonce": "n", "at_hash": "h"},  # authentik
    ],
    ids=str,
)
def test_access_tokens_of_all_products_are_accepted(
    api: StandaloneApi, issuer: FakeIssuer, members: dict[str, Any]
) -> None:
    issuer.introspection_responses["opaque"] |= members

    assert api.accepts("opaque")


def test_optional_members_of_the_response_can_be_missing(clock: Clock, issuer: FakeIssuer) -> None:
    """RFC 7662 §2.2: only ``active`` is required. Without ``aud``, the client must be in the issuer's ``clients``."""
    issuer.introspection_responses["bare"] = {"active": True, "client_id": "shop", "scope": "notes:read"}

    assert not StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=CLIENT)).accepts("bare")
    assert StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=CLIENT, clients=["shop"])).accepts("bare")


@pytest.mark.parametrize("name", ["exp", "nbf", "iat", "iss", "token_type", "token_use", "typ", "cnf", "nonce", "jti"])
def test_a_member_that_is_null_is_as_good_as_none(api: StandaloneApi, issuer: FakeIssuer, name: str) -> None:
    issuer.introspection_responses["opaque"] |= {name: None}

    assert api.accepts("opaque")


def test_an_alternative_of_a_member_that_is_null_is_used(api: StandaloneApi, issuer: FakeIssuer) -> None:
    issuer.introspection_responses["opaque"] |= {"client_id": None, "azp": "mail", "scope": None, "scp": ["notes:read"]}

    assert api.call("opaque").json == {"issuer": issuer.url, "user": "maya", "app": "mail"}


def test_a_token_without_exp_is_accepted_if_no_response_is_remembered(clock: Clock, issuer: FakeIssuer) -> None:
    client = IntrospectionClient(client_id="notes api", client_secret="s3cret", remember=0)
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=client), clock_leeway=0)
    del issuer.introspection_responses["opaque"]["exp"]

    for number in (1, 2):
        assert api.accepts("opaque")
        assert issuer.requested_paths.count(INTROSPECTION_PATH) == number


def test_a_response_can_be_remembered_for_a_fraction_of_a_second(clock: Clock, issuer: FakeIssuer) -> None:
    client = IntrospectionClient(client_id="notes api", client_secret="s3cret", remember=2.5)
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=client))

    for seconds, requests in ((0, 1), (2, 1), (1, 2)):
        clock.forward(seconds)
        assert api.accepts("opaque")
        assert issuer.requested_paths.count(INTROSPECTION_PATH) == requests


def test_the_audience_of_a_response_can_be_a_list(api: StandaloneApi, issuer: FakeIssuer) -> None:
    issuer.introspection_responses["many"] = {**issuer.introspection_responses["opaque"], "aud": ["x", RESOURCE]}

    assert api.accepts("many")


JSON_FIRST = "eyJpZCI6MX0.ZtW4bQ.Rk5t"  # as itsdangerous makes them: {"id":1}, a time and a signature


@pytest.mark.parametrize("token", ["v4.local.AAAA", "ory_at.b.c", "a.b.c.d", "..", JSON_FIRST])
def test_an_opaque_token_can_have_dots(api: StandaloneApi, issuer: FakeIssuer, token: str) -> None:
    issuer.introspection_responses[token] = issuer.introspection_responses["opaque"]

    assert api.accepts(token)
    cache = api.app.extensions["valetkey"].verifier._verified._recent
    assert len(cache) == 1 and all(isinstance(key, bytes) for key in cache)


def test_a_token_with_the_prefix_of_an_issuer_is_opaque_whatever_it_looks_like(
    clock: Clock, issuer: FakeIssuer
) -> None:
    client = IntrospectionClient(client_id="notes api", client_secret="s3cret", prefix="eyJraW5kIjoi")
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, introspection=client))
    token = "eyJraW5kIjoib3BhcXVlIiwiYWxnIjoibm9uZSJ9.b.c"  # {"kind":"opaque","alg":"none"}
    issuer.introspection_responses[token] = issuer.introspection_responses["opaque"]

    assert api.accepts(token)
    assert api.accepts(issuer.token())
    assert api.call("a.b.c").status_code == 401  # no JWT, and without the prefix
    assert issuer.requested_paths.count(INTROSPECTION_PATH) == 1


def test_a_jwt_that_cannot_be_verified_is_not_introspected(api: StandaloneApi, issuer: FakeIssuer) -> None:
    for token in (
        issuer.token()[:-4] + "AAAA",
        issuer.token(padding="x" * 9000),
        issuer.token(iss="https://a.example"),
    ):
        issuer.introspection_responses[token] = issuer.introspection_responses["opaque"]
        assert api.call(token).status_code == 401

    assert INTROSPECTION_PATH not in issuer.requested_paths
