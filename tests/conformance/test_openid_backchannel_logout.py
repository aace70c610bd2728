"""OpenID Connect Back-Channel Logout 1.0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from tests.conformance.client_website import ClientWebsite
from tests.conformance.logout_token_receiver import (
    LogoutTokenReceiver,
    decode_token,
    is_signed_in,
    obtain_openid_tokens,
    run_logout_token_receiver,
    with_client,
)
from tests.support.app import MakeApp, Register
from tests.support.browser_client import CALLBACK, ISSUER, Browser
from tests.support.clock import Clock
from valetkey.accounts.sign_out import end_all_sessions_statements
from valetkey.authorization_server.clients.service import CreatedClient, RegistrationRefused
from valetkey.authorization_server.openid.logout_token import LOGOUT_TOKEN_JOB
from valetkey.authorization_server.openid.session_logout import owner_logout_statements
from valetkey.extension import Valetkey
from valetkey.runtime import Runtime
from valetkey.storage import outbox
from valetkey.storage.engine.transaction import Transaction

EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
def party() -> Iterator[LogoutTokenReceiver]:
    with run_logout_token_receiver() as running:
        yield running


@pytest.fixture
def rp(register: Register, ada: Browser, party: LogoutTokenReceiver) -> Browser:
    """Ada at a relying party that wants to be told."""
    members = {"backchannel_logout_uri": party.url, "backchannel_logout_session_required": True}
    return with_client(ada, register(members=members))


def sign_out(browser: Browser) -> None:
    browser.submit("/account/sign-out", {}, page_path="/account")
    assert not is_signed_in(browser)


Work = Callable[[], int]


@pytest.fixture
def work(runtime: Runtime) -> Work:
    """One round of the worker; how many jobs were done."""
    return runtime.make_worker().run_once


def test_discovery_says_that_it_is_supported_with_sessions(rp: Browser) -> None:
    """§2.1."""
    found = rp.get("/.well-known/openid-configuration").json

    assert found["backchannel_logout_supported"] is True
    assert found["backchannel_logout_session_supported"] is True


def test_signing_out_sends_a_logout_token(rp: Browser, party: LogoutTokenReceiver, clock: Clock, work: Work) -> None:
    """§2.4, §2.5."""
    _, signed_in = decode_token(rp, obtain_openid_tokens(rp)["id_token"])
    sign_out(rp)
    assert work() == 1

    [token] = party.logout_tokens
    header, claims = decode_token(rp, token)
    assert (header["typ"], header["alg"]) == ("logout+jwt", "RS256")
    assert (claims["iss"], claims["aud"]) == (ISSUER, rp.client.client_id)
    assert (claims["sub"], claims["sid"]) == (signed_in["sub"], signed_in["sid"])
    assert claims["events"] == {EVENT: {}}
    assert claims["iat"] == int(clock()) and 0 < claims["exp"] - claims["iat"] <= 120
    assert claims["jti"]
    assert "nonce" not in claims


def test_the_token_is_signed_as_the_clients_id_tokens_are(
    register: Register, ada: Browser, party: LogoutTokenReceiver, work: Work
) -> None:
    """§2.6: the same algorithm."""
    members = {"backchannel_logout_uri": party.url, "id_token_signed_response_alg": "ES256"}
    rp = with_client(ada, register(members=members))
    obtain_openid_tokens(rp)
    sign_out(rp)
    work()

    assert decode_token(rp, party.logout_tokens[0])[0]["alg"] == "ES256"


def test_a_pairwise_client_is_told_by_its_own_sub(
    register: Register, ada: Browser, party: LogoutTokenReceiver, work: Work
) -> None:
    """§2.4, OpenID Connect Core §8."""
    rp = with_client(ada, register(members={"backchannel_logout_uri": party.url, "subject_type": "pairwise"}))
    _, signed_in = decode_token(rp, obtain_openid_tokens(rp)["id_token"])
    sign_out(rp)
    work()

    assert decode_token(rp, party.logout_tokens[0])[1]["sub"] == signed_in["sub"] != "ada"


def test_a_logout_token_passes_for_no_id_token(rp: Browser, party: LogoutTokenReceiver, work: Work) -> None:
    """§2.4: the two cannot be confused."""
    obtain_openid_tokens(rp)
    sign_out(rp)
    work()

    assert rp.get("/oauth/logout", query_string={"id_token_hint": party.logout_tokens[0]}).status_code == 400
    assert rp.call(party.logout_tokens[0]).status_code == 401


def test_every_client_of_the_session_is_told_once_and_no_other(
    rp: Browser, shop: object, register: Register, party: LogoutTokenReceiver, work: Work
) -> None:
    """§2.3."""
    never_visited = register(members={"backchannel_logout_uri": party.url})
    obtain_openid_tokens(rp)
    obtain_openid_tokens(rp)
    sign_out(rp)
    work()

    assert [decode_token(rp, token)[1]["aud"] for token in party.logout_tokens] == [rp.client.client_id]
    assert never_visited.client_id != rp.client.client_id


def test_a_client_is_told_also_when_its_tokens_are_long_dead(
    register: Register, ada: Browser, party: LogoutTokenReceiver, work: Work, clock: Clock
) -> None:
    """§2.3: whoever was logged in to in the session."""
    members = {"backchannel_logout_uri": party.url}
    rp = with_client(ada, register(grant_types=["authorization_code"], members=members))
    rp.http.delete_cookie("valetkey_session")
    rp.sign_up("long@example.org")
    obtain_openid_tokens(rp)
    clock.forward(9 * 86400)
    work()  # prunes
    sign_out(rp)
    work()

    assert len(party.logout_tokens) == 1


def test_signing_out_waits_for_nobody(rp: Browser, party: LogoutTokenReceiver, runtime: Runtime) -> None:
    """§2.5: the client is told by the worker, after the person was answered."""
    obtain_openid_tokens(rp)
    sign_out(rp)

    assert party.logout_tokens == []


@pytest.mark.parametrize("status", [302, 400, 500, 503])
def test_what_a_client_did_not_understand_is_sent_again(
    rp: Browser, party: LogoutTokenReceiver, clock: Clock, status: int, work: Work
) -> None:
    """§2.8: 200 or 204 is success; retried later, with a fresh token."""
    obtain_openid_tokens(rp)
    sign_out(rp)
    party.status = status
    assert work() == 0
    assert work() == 0
    assert len(party.logout_tokens) == 1
    party.status = 204
    clock.forward(11)
    assert work() == 1

    first, second = (decode_token(rp, token)[1] for token in party.logout_tokens)
    assert first["jti"] != second["jti"]
    clock.forward(100)
    assert work() == 0


def test_a_client_inside_the_house_is_not_reached(
    register: Register,
    ada: Browser,
    party: LogoutTokenReceiver,
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    work: Work,
) -> None:
    """§5: the guarded fetcher sends it, and the guard decides."""
    from valetkey.outbound.http import Fetcher

    monkeypatch.setattr(runtime, "fetcher", Fetcher((), None, runtime.clock))
    rp = with_client(ada, register(members={"backchannel_logout_uri": party.url}))
    obtain_openid_tokens(rp)
    sign_out(rp)

    assert work() == 0
    assert party.logout_tokens == []


def test_refresh_tokens_without_offline_access_end_with_the_session(rp: Browser) -> None:
    """§2.7."""
    tokens = obtain_openid_tokens(rp, "profile")
    sign_out(rp)

    assert rp.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"
    assert rp.call(tokens["access_token"]).status_code == 401


def test_refresh_tokens_with_offline_access_do_not(rp: Browser) -> None:
    """§2.7."""
    tokens = obtain_openid_tokens(rp, "profile", "offline_access")
    sign_out(rp)

    assert rp.refresh(tokens["refresh_token"]).status_code == 200


def test_an_app_that_only_uses_the_api_keeps_its_access(rp: Browser, shop: object, ada: Browser) -> None:
    """§2.7 is about relying parties: this one asked for no ID token, and to be told nothing."""
    tokens = ada.obtain_tokens(scope=("profile",))
    sign_out(rp)

    assert ada.refresh(tokens["refresh_token"]).status_code == 200


def test_another_session_of_the_same_person_goes_on(rp: Browser, party: LogoutTokenReceiver, work: Work) -> None:
    """§2.4: sid names the one that ended."""
    rp.http.delete_cookie("valetkey_session")
    rp.sign_up("two@example.org")
    first = obtain_openid_tokens(rp, "profile")
    rp.http.delete_cookie("valetkey_session")
    rp.sign_in("two@example.org")
    second = obtain_openid_tokens(rp, "profile")
    sign_out(rp)
    work()

    [token] = party.logout_tokens
    assert decode_token(rp, token)[1]["sid"] == decode_token(rp, second["id_token"])[1]["sid"]
    assert rp.refresh(first["refresh_token"]).status_code == 200


def test_whoever_signs_in_as_another_person_ends_the_session_before(
    rp: Browser, party: LogoutTokenReceiver, work: Work
) -> None:
    """§2.3."""
    obtain_openid_tokens(rp)
    rp.sign_up("another@example.org")
    work()

    assert decode_token(rp, party.logout_tokens[0])[1]["sub"] == "ada"


def test_the_logout_endpoint_tells_too(rp: Browser, party: LogoutTokenReceiver, work: Work) -> None:
    """§2.3, RP-Initiated Logout §2."""
    hint = obtain_openid_tokens(rp)["id_token"]
    rp.get("/oauth/logout", query_string={"id_token_hint": hint})
    work()

    assert len(party.logout_tokens) == 1


def test_a_new_password_and_being_put_out_tell_too(
    rp: Browser, party: LogoutTokenReceiver, runtime: Runtime, work: Work
) -> None:
    """§2.3."""
    obtain_openid_tokens(rp)
    runtime.revoke(*end_all_sessions_statements("ada", runtime, runtime.clock()))
    work()
    assert len(party.logout_tokens) == 1
    assert not is_signed_in(rp)

    runtime.revoke(*owner_logout_statements("ada", runtime, runtime.clock()))
    work()
    assert len(party.logout_tokens) == 2


def test_a_hosts_own_session_ends_likewise(rp: Browser, party: LogoutTokenReceiver, work: Work) -> None:
    """§2.3: for a host that keeps its own users."""
    tokens = obtain_openid_tokens(rp, "profile")
    sid = decode_token(rp, tokens["id_token"])[1]["sid"]
    Valetkey.end_session(rp.http.application, "ada", sid)
    work()

    assert decode_token(rp, party.logout_tokens[0])[1]["sid"] == sid
    assert rp.refresh(tokens["refresh_token"]).status_code == 400


def test_a_client_that_needs_a_sid_is_told_nothing_without_one(
    rp: Browser, party: LogoutTokenReceiver, runtime: Runtime, work: Work
) -> None:
    """§2.2: backchannel_logout_session_required."""
    obtain_openid_tokens(rp)
    runtime.revoke(*owner_logout_statements("nobody", runtime, runtime.clock()))

    assert work() == 0


@pytest.mark.parametrize("uri", ["http://shop.example/x", "https://shop.example/x#f", "https://u@shop.example/", "x"])
def test_a_uri_that_cannot_be_posted_to_is_not_registered(register: Register, uri: str) -> None:
    """§2.2: absolute, https, no fragment."""
    with pytest.raises(RegistrationRefused, match="backchannel_logout_uri"):
        register(members={"backchannel_logout_uri": uri})


def test_a_client_that_is_slow_to_answer_holds_up_no_other(
    register: Register, ada: Browser, party: LogoutTokenReceiver, runtime: Runtime, work: Work
) -> None:
    """§2.5: each client is told for itself."""
    with run_logout_token_receiver() as slow:
        slow.may_respond.clear()
        for url in (slow.url, slow.url, party.url):
            obtain_openid_tokens(with_client(ada, register(members={"backchannel_logout_uri": url})))
        sign_out(ada)
        working = Thread(target=lambda: (work(), runtime.store.close_reader()))
        working.start()

        assert party.token_received.wait(5)

        assert working.is_alive()
        slow.may_respond.set()
        working.join()
        assert len(slow.logout_tokens) == 2


def test_after_a_failure_all_that_is_for_that_client_waits(
    register: Register, party: LogoutTokenReceiver, runtime: Runtime, clock: Clock, work: Work
) -> None:
    """§2.8: what was not delivered is tried again; until then others come first."""
    client = register(members={"backchannel_logout_uri": party.url})
    job = {"client_id": client.client_id, "owner": "ada", "sid": None}
    assert runtime.store.write(Transaction(rows=tuple(outbox.add(LOGOUT_TOKEN_JOB, job, clock()) for _ in range(3))))
    party.status = 500
    assert (work(), len(party.logout_tokens)) == (0, 1)
    assert (work(), len(party.logout_tokens)) == (0, 1)

    party.status = 200
    clock.forward(seconds=11)

    assert (work(), len(party.logout_tokens)) == (3, 4)


def test_nobody_who_signs_out_waits_for_a_clients_document(
    ada: Browser, party: LogoutTokenReceiver, site: ClientWebsite, clock: Clock, work: Work
) -> None:
    """§2.5: a client that describes itself is told as it was last known."""
    client_id = site.url("/client.json")
    described = {"client_id": client_id, "redirect_uris": [CALLBACK], "backchannel_logout_uri": party.url}
    site.publish("/client.json", described)
    obtain_openid_tokens(with_client(ada, CreatedClient(client_id, None)))
    clock.forward(seconds=400)
    asked = len(site.requested_paths)

    sign_out(ada)

    assert len(site.requested_paths) == asked
    assert work() == 1
    assert len(party.logout_tokens) == 1


def test_the_worker_reads_the_document_that_is_not_at_hand(
    ada: Browser, party: LogoutTokenReceiver, site: ClientWebsite, make_app: MakeApp, store_url: str, work: Work
) -> None:
    """§2.5: another process has never heard of that client."""
    client_id = site.url("/client.json")
    site.publish(
        "/client.json", {"client_id": client_id, "redirect_uris": [CALLBACK], "backchannel_logout_uri": party.url}
    )
    obtain_openid_tokens(with_client(ada, CreatedClient(client_id, None)))
    elsewhere = make_app(store_url).test_client()
    for name in ("valetkey_browser", "valetkey_session"):
        cookie = ada.http.get_cookie(name)
        assert cookie
        elsewhere.set_cookie(name, cookie.value)
    asked = len(site.requested_paths)

    sign_out(Browser(elsewhere, ada.client))
    assert len(site.requested_paths) == asked

    assert work() == 1
    assert len(party.logout_tokens) == 1
