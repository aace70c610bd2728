"""Issuers that rotate keys, are away, lie or are slow; floods of tokens that nobody issued."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.resource_server.fake_issuer import EC_KEY, JWKS_PATH, OPENID_CONFIGURATION_PATH, OTHER_RSA_KEY, FakeIssuer
from tests.resource_server.standalone_api import StandaloneApi
from tests.support.browser_client import Clock
from tests.support.hostile_server import HostileServer, drip, flood, never_respond, redirect_to
from valetkey import TrustedIssuer
from valetkey.resource_server import standalone_context

DAY = 86_400


@pytest.fixture
def issuer(clock: Clock) -> Iterator[FakeIssuer]:
    with FakeIssuer(clock) as running:
        yield running


@pytest.fixture
def api(clock: Clock, issuer: FakeIssuer) -> StandaloneApi:
    return StandaloneApi(clock, issuer.url)


def test_a_new_key_is_found_when_its_first_token_comes(api: StandaloneApi, issuer: FakeIssuer, clock: Clock) -> None:
    assert api.accepts(issuer.token())
    clock.forward(31)
    issuer.published_keys = [OTHER_RSA_KEY]

    assert api.accepts(issuer.token(key=OTHER_RSA_KEY))


def test_a_withdrawn_key_is_no_longer_believed_not_even_for_tokens_that_were_seen(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    token = issuer.token(exp=int(clock()) + 10_000)
    assert api.accepts(token)
    issuer.published_keys = [EC_KEY]

    clock.forward(600)

    assert not api.accepts(token)


def test_a_flood_of_unknown_kids_asks_twice_a_minute_at_most(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    assert api.accepts(issuer.token())
    clock.forward(31)

    for number in range(100):
        assert not api.accepts(issuer.token(key=OTHER_RSA_KEY, header={"kid": f"guess {number}"}))

    assert issuer.requested_paths.count(JWKS_PATH) == 2
    assert api.accepts(issuer.token(jti="2"))


def test_an_outage_is_survived_for_a_day_while_keys_are_known(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    assert api.accepts(issuer.token())
    issuer.is_down = True

    for _ in range(4):
        clock.forward(DAY / 4 - 10)
        assert api.accepts(issuer.token())
    clock.forward(60)

    assert api.call(issuer.token()).status_code == 503


def test_where_no_key_was_ever_known_it_is_503_and_soon_tried_again(
    api: StandaloneApi, issuer: FakeIssuer, clock: Clock
) -> None:
    issuer.is_down = True
    for _ in range(5):
        refused = api.call(issuer.token())
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert refused.content_type == "application/problem+json"
        assert "WWW-Authenticate" not in refused.headers
    assert len(issuer.requested_paths) == 2  # both well-known addresses, once

    issuer.is_down = False
    clock.forward(5)

    assert api.accepts(issuer.token())


def test_one_issuer_that_is_away_leaves_the_other_alone(clock: Clock, issuer: FakeIssuer) -> None:
    with FakeIssuer(clock) as second:
        api = StandaloneApi(clock, issuer.url, second.url)
        second.is_down = True

        assert api.call(second.token()).status_code == 503
        assert api.accepts(issuer.token())


def test_however_many_come_first_metadata_and_keys_are_fetched_once(api: StandaloneApi, issuer: FakeIssuer) -> None:
    everybody, tokens = threading.Barrier(8, timeout=5), [issuer.token(jti=str(number)) for number in range(8)]
    issuer.release_event = threading.Event()
    threading.Timer(0.2, issuer.release_event.set).start()

    def call(token: str) -> bool:
        everybody.wait()
        return api.accepts(token)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, tokens))
    assert issuer.requested_paths == [OPENID_CONFIGURATION_PATH, JWKS_PATH]


def test_nobody_waits_for_new_keys_while_the_old_ones_serve(issuer: FakeIssuer, clock: Clock) -> None:
    api = StandaloneApi(clock, TrustedIssuer(issuer.url, jwks_uri=f"{issuer.url}{JWKS_PATH}"))
    assert api.accepts(issuer.token())
    clock.forward(3600)
    issuer.release_event = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.accepts, issuer.token(jti="first"))
        while len(issuer.requested_paths) < 2:
            time.sleep(0.01)

        began = time.monotonic()
        assert api.accepts(issuer.token(jti="second"))

        assert time.monotonic() - began < 1
        issuer.release_event.set()
        assert first.result(5)


LIES: dict[str, Callable[[FakeIssuer], None]] = {
    "names another issuer": lambda one: one.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, {**one.metadata, "issuer": "https://a"}, {})}
    ),
    "names itself with a slash": lambda one: one.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, {**one.metadata, "issuer": f"{one.url}/"}, {})}
    ),
    "has no keys": lambda one: one.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, {"issuer": one.url}, {})}
    ),
    "has keys behind plain http": lambda one: one.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, {**one.metadata, "jwks_uri": "http://10.0.0.1/jwks"}, {})}
    ),
    "has keys in a file": lambda one: one.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, {**one.metadata, "jwks_uri": "file:///etc/passwd"}, {})}
    ),
    "is a list": lambda one: one.overridden_responses.update({OPENID_CONFIGURATION_PATH: (200, [], {})}),
    "is HTML": lambda one: one.overridden_responses.update({OPENID_CONFIGURATION_PATH: (200, b"<html>", {})}),
    "is huge": lambda one: one.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (200, b"[" + b"0," * 100_000, {})}
    ),
    "leads elsewhere": lambda one: one.overridden_responses.update(
        {OPENID_CONFIGURATION_PATH: (302, {}, {"Location": f"{one.url}/other"})}
    ),
    "has a set that is none": lambda one: one.overridden_responses.update({JWKS_PATH: (200, {"keys": 5}, {})}),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_metadata_that_lies_is_an_outage(
    api: StandaloneApi, issuer: FakeIssuer, lie: Callable[[FakeIssuer], None]
) -> None:
    lie(issuer)

    assert api.call(issuer.token()).status_code == 503


def test_a_redirect_into_the_own_network_is_not_followed(clock: Clock, issuer: FakeIssuer) -> None:
    with HostileServer(redirect_to("http://127.0.0.2/")) as inside, HostileServer(never_respond, "127.0.0.2") as secret:
        issuer.overridden_responses[JWKS_PATH] = (302, {}, {"Location": secret.url()})
        api = StandaloneApi(clock, issuer.url)  # which may ask 127.0.0.1 only

        assert api.call(issuer.token()).status_code == 503
        assert secret.requests == inside.requests == []


SLOW = {
    "silent": never_respond,
    "dripping": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" "),
    "dripping headers": drip(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "endless": flood(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65_536, 100),
}


@pytest.mark.parametrize("behaviour", SLOW.values(), ids=SLOW)
def test_an_issuer_that_never_ends_is_an_outage_in_bounded_time(
    clock: Clock, issuer: FakeIssuer, behaviour: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standalone_context, "_FETCH_TIMEOUT_S", 0.3)
    with HostileServer(behaviour) as hostile:
        api = StandaloneApi(clock, TrustedIssuer(issuer.url, jwks_uri=hostile.url()))
        began = time.monotonic()

        with ThreadPoolExecutor(8) as pool:
            statuses = [one.status_code for one in pool.map(api.call, [issuer.token(jti=str(n)) for n in range(8)])]

        assert statuses == [503] * 8
        assert time.monotonic() - began < 2
