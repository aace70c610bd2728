"""Issuers that rotate keys, are away, lie or are slow; floods of tokens that nobody issued."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.outbound.hostile import Hostile, drips, floods, is_silent, redirects
from tests.resource_server.alone import Api
from tests.resource_server.issuer import EC, JWKS, OPENID, OTHER_RSA, Issuer
from tests.support.vocabulary import Clock
from valetkey import TrustedIssuer
from valetkey.resource_server import standalone_context

DAY = 86_400


@pytest.fixture
def issuer(clock: Clock) -> Iterator[Issuer]:
    with Issuer(clock) as running:
        yield running


@pytest.fixture
def api(clock: Clock, issuer: Issuer) -> Api:
    return Api(clock, issuer.url)


def test_a_new_key_is_found_when_its_first_token_comes(api: Api, issuer: Issuer, clock: Clock) -> None:
    assert api.passes(issuer.token())
    clock.forward(31)
    issuer.published = [OTHER_RSA]

    assert api.passes(issuer.token(key=OTHER_RSA))


def test_a_withdrawn_key_is_no_longer_believed_not_even_for_tokens_that_were_seen(
    api: Api, issuer: Issuer, clock: Clock
) -> None:
    token = issuer.token(exp=int(clock()) + 10_000)
    assert api.passes(token)
    issuer.published = [EC]

    clock.forward(600)

    assert not api.passes(token)


def test_a_flood_of_unknown_kids_asks_twice_a_minute_at_most(api: Api, issuer: Issuer, clock: Clock) -> None:
    assert api.passes(issuer.token())
    clock.forward(31)

    for number in range(100):
        assert not api.passes(issuer.token(key=OTHER_RSA, header={"kid": f"guess {number}"}))

    assert issuer.asked.count(JWKS) == 2
    assert api.passes(issuer.token(jti="2"))


def test_an_outage_is_survived_for_a_day_while_keys_are_known(api: Api, issuer: Issuer, clock: Clock) -> None:
    assert api.passes(issuer.token())
    issuer.is_down = True

    for _ in range(4):
        clock.forward(DAY / 4 - 10)
        assert api.passes(issuer.token())
    clock.forward(60)

    assert api.call(issuer.token()).status_code == 503


def test_where_no_key_was_ever_known_it_is_503_and_soon_tried_again(api: Api, issuer: Issuer, clock: Clock) -> None:
    issuer.is_down = True
    for _ in range(5):
        refused = api.call(issuer.token())
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        assert refused.content_type == "application/problem+json"
        assert "WWW-Authenticate" not in refused.headers
    assert len(issuer.asked) == 2  # both well-known addresses, once

    issuer.is_down = False
    clock.forward(5)

    assert api.passes(issuer.token())


def test_one_issuer_that_is_away_leaves_the_other_alone(clock: Clock, issuer: Issuer) -> None:
    with Issuer(clock) as second:
        api = Api(clock, issuer.url, second.url)
        second.is_down = True

        assert api.call(second.token()).status_code == 503
        assert api.passes(issuer.token())


def test_however_many_come_first_metadata_and_keys_are_fetched_once(api: Api, issuer: Issuer) -> None:
    everybody, tokens = threading.Barrier(8, timeout=5), [issuer.token(jti=str(number)) for number in range(8)]
    issuer.hold = threading.Event()
    threading.Timer(0.2, issuer.hold.set).start()

    def call(token: str) -> bool:
        everybody.wait()
        return api.passes(token)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, tokens))
    assert issuer.asked == [OPENID, JWKS]


def test_nobody_waits_for_new_keys_while_the_old_ones_serve(issuer: Issuer, clock: Clock) -> None:
    api = Api(clock, TrustedIssuer(issuer.url, jwks_uri=f"{issuer.url}{JWKS}"))
    assert api.passes(issuer.token())
    clock.forward(3600)
    issuer.hold = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.passes, issuer.token(jti="first"))
        while len(issuer.asked) < 2:
            time.sleep(0.01)

        began = time.monotonic()
        assert api.passes(issuer.token(jti="second"))

        assert time.monotonic() - began < 1
        issuer.hold.set()
        assert first.result(5)


LIES: dict[str, Callable[[Issuer], None]] = {
    "names another issuer": lambda one: one.answers.update(
        {OPENID: (200, {**one.metadata, "issuer": "https://a"}, {})}
    ),
    "names itself with a slash": lambda one: one.answers.update(
        {OPENID: (200, {**one.metadata, "issuer": f"{one.url}/"}, {})}
    ),
    "has no keys": lambda one: one.answers.update({OPENID: (200, {"issuer": one.url}, {})}),
    "has keys behind plain http": lambda one: one.answers.update(
        {OPENID: (200, {**one.metadata, "jwks_uri": "http://10.0.0.1/jwks"}, {})}
    ),
    "has keys in a file": lambda one: one.answers.update(
        {OPENID: (200, {**one.metadata, "jwks_uri": "file:///etc/passwd"}, {})}
    ),
    "is a list": lambda one: one.answers.update({OPENID: (200, [], {})}),
    "is HTML": lambda one: one.answers.update({OPENID: (200, b"<html>", {})}),
    "is huge": lambda one: one.answers.update({OPENID: (200, b"[" + b"0," * 100_000, {})}),
    "leads elsewhere": lambda one: one.answers.update({OPENID: (302, {}, {"Location": f"{one.url}/other"})}),
    "has a set that is none": lambda one: one.answers.update({JWKS: (200, {"keys": 5}, {})}),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_metadata_that_lies_is_an_outage(api: Api, issuer: Issuer, lie: Callable[[Issuer], None]) -> None:
    lie(issuer)

    assert api.call(issuer.token()).status_code == 503


def test_a_redirect_into_the_own_network_is_not_followed(clock: Clock, issuer: Issuer) -> None:
    with Hostile(redirects("http://127.0.0.2/")) as inside, Hostile(is_silent, "127.0.0.2") as secret:
        issuer.answers[JWKS] = (302, {}, {"Location": secret.url()})
        api = Api(clock, issuer.url)  # which may ask 127.0.0.1 only

        assert api.call(issuer.token()).status_code == 503
        assert secret.seen == inside.seen == []


SLOW = {
    "silent": is_silent,
    "dripping": drips(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b" "),
    "dripping headers": drips(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "endless": floods(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65_536, 100),
}


@pytest.mark.parametrize("behaviour", SLOW.values(), ids=SLOW)
def test_an_issuer_that_never_ends_is_an_outage_in_bounded_time(
    clock: Clock, issuer: Issuer, behaviour: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standalone_context, "_FETCH", 0.3)
    with Hostile(behaviour) as hostile:
        api = Api(clock, TrustedIssuer(issuer.url, jwks_uri=hostile.url()))
        began = time.monotonic()

        with ThreadPoolExecutor(8) as pool:
            statuses = [one.status_code for one in pool.map(api.call, [issuer.token(jti=str(n)) for n in range(8)])]

        assert statuses == [503] * 8
        assert time.monotonic() - began < 2
