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
from valetkey.authorization_server.clients.operator_metadata import RegistrationRefused
from valetkey.authorization_server.clients.service import CreatedClient
from valetkey.authorization_server.openid.logout_token import LOGOUT_TOKEN_JOB
from valetkey.authorization_server.openid.session_logout import owner_logout_statements
from valetkey.extension import Valetkey
from valetkey.runtime import Runtime
from valetkey.storage import outbox
from valetkey.storage.engine.transaction import Transaction

EVENT = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture
def receiver() -> Iterator[LogoutTokenReceiver]:
    with run_logout_token_receiver() as running:
        yield running


@pytest.fixture
def rp(register: Register, ada: Browser, receiver: LogoutTokenReceiver) -> Browser:
    """Ada's browser at a relying party with back-channel logout."""
    members = {"backchannel_logout_uri": receiver.url, "backchannel_logout_session_required": True}
    return with_client(ada, register(members=members))


def sign_out(browser: Browser) -> None:
    browser.submit("/account/sign-out", {}, page_path="/account")
    assert not is_signed_in(browser)


RunWorker = Callable[[], int]


@pytest.fixture
def run_worker(runtime: Runtime) -> RunWorker:
    """Run the worker once; return the number of completed jobs."""
    return runtime.make_worker().run_once


def test_discovery_advertises_back_channel_logout_with_session_ids(rp: Browser) -> None:
    """§2.1."""
    metadata = rp.get("/.well-known/openid-configuration").json

    assert metadata["backchannel_logout_supported"] is True
    assert metadata["backchannel_logout_session_supported"] is True


def test_signing_out_sends_a_logout_token(
    rp: Browser, receiver: LogoutTokenReceiver, clock: Clock, run_worker: RunWorker
) -> None:
    """§2.4, §2.5."""
    _, id_token = decode_token(rp, obtain_openid_tokens(rp)["id_token"])
    sign_out(rp)
    assert run_worker() == 1

    [token] = receiver.logout_tokens
    header, claims = decode_token(rp, token)
    assert (header["typ"], header["alg"]) == ("logout+jwt", "RS256")
    assert (claims["iss"], claims["aud"]) == (ISSUER, rp.client.client_id)
    assert (claims["sub"], claims["sid"]) == (id_token["sub"], id_token["sid"])
    assert claims["events"] == {EVENT: {}}
    assert claims["iat"] == int(clock()) and 0 < claims["exp"] - claims["iat"] <= 120
    assert claims["jti"]
    assert "nonce" not in claims


def test_the_logout_token_is_signed_with_the_algorithm_of_the_clients_id_tokens(
    register: Register, ada: Browser, receiver: LogoutTokenReceiver, run_worker: RunWorker
) -> None:
    """§2.6: the same algorithm."""
    members = {"backchannel_logout_uri": receiver.url, "id_token_signed_response_alg": "ES256"}
    rp = with_client(ada, register(members=members))
    obtain_openid_tokens(rp)
    sign_out(rp)
    run_worker()

    assert decode_token(rp, receiver.logout_tokens[0])[0]["alg"] == "ES256"


def test_the_logout_token_of_a_pairwise_client_has_its_pairwise_sub_and_sid(
    register: Register, ada: Browser, receiver: LogoutTokenReceiver, run_worker: RunWorker
) -> None:
    """§2.4, OpenID Connect Core §8."""
    rp = with_client(ada, register(members={"backchannel_logout_uri": receiver.url, "subject_type": "pairwise"}))
    _, id_token = decode_token(rp, obtain_openid_tokens(rp)["id_token"])
    sign_out(rp)
    run_worker()

    logout_token = decode_token(rp, receiver.logout_tokens[0])[1]
    assert logout_token["sub"] == id_token["sub"] != "ada"
    assert logout_token["sid"] == id_token["sid"]


def test_pairwise_clients_get_different_session_ids(register: Register, ada: Browser) -> None:
    """§2.1, OpenID Connect Core §8.1: by a common sid, clients could correlate their users."""
    pairwise = {"subject_type": "pairwise"}
    apps = [with_client(ada, register(members=members)) for members in (pairwise, pairwise, {}, {})]

    sids = [decode_token(app, obtain_openid_tokens(app)["id_token"])[1]["sid"] for app in apps]

    assert len({*sids}) == 3
    assert sids[2] == sids[3], "clients with public subjects know that the user is the same"
    assert decode_token(apps[0], obtain_openid_tokens(apps[0])["id_token"])[1]["sid"] == sids[0]


def test_a_logout_token_is_not_accepted_as_an_id_token_or_access_token(
    rp: Browser, receiver: LogoutTokenReceiver, run_worker: RunWorker
) -> None:
    """§2.4: logout tokens must not be confused with other tokens."""
    obtain_openid_tokens(rp)
    sign_out(rp)
    run_worker()

    assert rp.get("/oauth/logout", query_string={"id_token_hint": receiver.logout_tokens[0]}).status_code == 400
    assert rp.call(receiver.logout_tokens[0]).status_code == 401


def test_each_client_of_the_session_gets_one_logout_token_and_no_other_client(
    rp: Browser, shop: object, register: Register, receiver: LogoutTokenReceiver, run_worker: RunWorker
) -> None:
    """§2.3."""
    never_visited = register(members={"backchannel_logout_uri": receiver.url})
    obtain_openid_tokens(rp)
    obtain_openid_tokens(rp)
    sign_out(rp)
    run_worker()

    assert [decode_token(rp, token)[1]["aud"] for token in receiver.logout_tokens] == [rp.client.client_id]
    assert never_visited.client_id != rp.client.client_id


def test_a_client_gets_a_logout_token_even_after_its_tokens_expired(
    register: Register, ada: Browser, receiver: LogoutTokenReceiver, run_worker: RunWorker, clock: Clock
) -> None:
    """§2.3: every client that the user logged in to during the session."""
    members = {"backchannel_logout_uri": receiver.url}
    rp = with_client(ada, register(grant_types=["authorization_code"], members=members))
    rp.http.delete_cookie("valetkey_session")
    rp.sign_up("long@example.org")
    obtain_openid_tokens(rp)
    clock.forward(9 * 86400)
    run_worker()  # prunes
    sign_out(rp)
    run_worker()

    assert len(receiver.logout_tokens) == 1


def test_signing_out_does_not_wait_for_the_clients(
    rp: Browser, receiver: LogoutTokenReceiver, runtime: Runtime
) -> None:
    """§2.5: the worker sends the logout token after the response to the user."""
    obtain_openid_tokens(rp)
    sign_out(rp)

    assert receiver.logout_tokens == []


@pytest.mark.parametrize("status", [302, 400, 500, 503])
def test_a_logout_token_is_sent_again_after_an_error_response(
    rp: Browser, receiver: LogoutTokenReceiver, clock: Clock, status: int, run_worker: RunWorker
) -> None:
    """§2.8: 200 or 204 is success; the retry has a new token."""
    obtain_openid_tokens(rp)
    sign_out(rp)
    receiver.status = status
    assert run_worker() == 0
    assert run_worker() == 0
    assert len(receiver.logout_tokens) == 1
    receiver.status = 204
    clock.forward(11)
    assert run_worker() == 1

    first, second = (decode_token(rp, token)[1] for token in receiver.logout_tokens)
    assert first["jti"] != second["jti"]
    clock.forward(100)
    assert run_worker() == 0


def test_a_client_at_a_private_address_is_not_called(
    register: Register,
    ada: Browser,
    receiver: LogoutTokenReceiver,
    runtime: Runtime,
    monkeypatch: pytest.MonkeyPatch,
    run_worker: RunWorker,
) -> None:
    """§5: logout tokens are sent by the fetcher, which refuses private addresses."""
    from valetkey.outbound.http import Fetcher

    monkeypatch.setattr(runtime, "fetcher", Fetcher((), None, runtime.clock))
    rp = with_client(ada, register(members={"backchannel_logout_uri": receiver.url}))
    obtain_openid_tokens(rp)
    sign_out(rp)

    assert run_worker() == 0
    assert receiver.logout_tokens == []


def test_signing_out_revokes_refresh_tokens_without_offline_access(rp: Browser) -> None:
    """§2.7."""
    tokens = obtain_openid_tokens(rp, "profile")
    sign_out(rp)

    assert rp.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"
    assert rp.call(tokens["access_token"]).status_code == 401


def test_signing_out_does_not_revoke_refresh_tokens_with_offline_access(rp: Browser) -> None:
    """§2.7."""
    tokens = obtain_openid_tokens(rp, "profile", "offline_access")
    sign_out(rp)

    assert rp.refresh(tokens["refresh_token"]).status_code == 200


def test_signing_out_does_not_revoke_tokens_without_openid(rp: Browser, shop: object, ada: Browser) -> None:
    """§2.7 is about relying parties; a client without openid is none."""
    tokens = ada.obtain_tokens(scope=("profile",))
    sign_out(rp)

    assert ada.refresh(tokens["refresh_token"]).status_code == 200


def test_another_session_of_the_same_user_is_not_ended(
    rp: Browser, receiver: LogoutTokenReceiver, run_worker: RunWorker
) -> None:
    """§2.4: sid identifies the session that ended."""
    rp.http.delete_cookie("valetkey_session")
    rp.sign_up("two@example.org")
    first = obtain_openid_tokens(rp, "profile")
    rp.http.delete_cookie("valetkey_session")
    rp.sign_in("two@example.org")
    second = obtain_openid_tokens(rp, "profile")
    sign_out(rp)
    run_worker()

    [token] = receiver.logout_tokens
    assert decode_token(rp, token)[1]["sid"] == decode_token(rp, second["id_token"])[1]["sid"]
    assert rp.refresh(first["refresh_token"]).status_code == 200


def test_a_sign_in_by_another_user_ends_the_previous_session(
    rp: Browser, receiver: LogoutTokenReceiver, run_worker: RunWorker
) -> None:
    """§2.3."""
    obtain_openid_tokens(rp)
    rp.sign_up("another@example.org")
    run_worker()

    assert decode_token(rp, receiver.logout_tokens[0])[1]["sub"] == "ada"


def test_the_logout_endpoint_sends_logout_tokens(
    rp: Browser, receiver: LogoutTokenReceiver, run_worker: RunWorker
) -> None:
    """§2.3, RP-Initiated Logout §2."""
    hint = obtain_openid_tokens(rp)["id_token"]
    rp.get("/oauth/logout", query_string={"id_token_hint": hint})
    run_worker()

    assert len(receiver.logout_tokens) == 1


def test_a_new_password_and_disabling_the_account_send_logout_tokens(
    rp: Browser, receiver: LogoutTokenReceiver, runtime: Runtime, run_worker: RunWorker
) -> None:
    """§2.3."""
    obtain_openid_tokens(rp)
    runtime.store.write_all(*end_all_sessions_statements("ada", runtime, runtime.clock()))
    run_worker()
    assert len(receiver.logout_tokens) == 1
    assert not is_signed_in(rp)

    runtime.store.write_all(*owner_logout_statements("ada", runtime, runtime.clock()))
    run_worker()
    assert len(receiver.logout_tokens) == 2


def test_end_session_sends_a_logout_token_for_a_hosts_session(
    rp: Browser, receiver: LogoutTokenReceiver, run_worker: RunWorker
) -> None:
    """§2.3: for a host that manages its own users."""
    tokens = obtain_openid_tokens(rp, "profile")
    sid = decode_token(rp, tokens["id_token"])[1]["sid"]
    Valetkey.end_session(rp.http.application, "ada", sid)
    run_worker()

    assert decode_token(rp, receiver.logout_tokens[0])[1]["sid"] == sid
    assert rp.refresh(tokens["refresh_token"]).status_code == 400


def test_a_client_that_requires_a_sid_gets_no_logout_token_without_one(
    rp: Browser, receiver: LogoutTokenReceiver, runtime: Runtime, run_worker: RunWorker
) -> None:
    """§2.2: backchannel_logout_session_required."""
    obtain_openid_tokens(rp)
    runtime.store.write_all(*owner_logout_statements("unknown", runtime, runtime.clock()))

    assert run_worker() == 0


@pytest.mark.parametrize("uri", ["http://shop.example/x", "https://shop.example/x#f", "https://u@shop.example/", "x"])
def test_an_invalid_backchannel_logout_uri_is_not_registered(register: Register, uri: str) -> None:
    """§2.2: absolute, https, no fragment."""
    with pytest.raises(RegistrationRefused, match="backchannel_logout_uri"):
        register(members={"backchannel_logout_uri": uri})


def test_a_slow_client_does_not_delay_the_others(
    register: Register, ada: Browser, receiver: LogoutTokenReceiver, runtime: Runtime, run_worker: RunWorker
) -> None:
    """§2.5: logout tokens are sent to each client independently."""
    with run_logout_token_receiver() as slow:
        slow.may_respond.clear()
        for url in (slow.url, slow.url, receiver.url):
            obtain_openid_tokens(with_client(ada, register(members={"backchannel_logout_uri": url})))
        sign_out(ada)
        worker = Thread(target=run_worker)
        worker.start()

        assert receiver.token_received.wait(5)

        assert worker.is_alive()
        slow.may_respond.set()
        worker.join()
        assert len(slow.logout_tokens) == 2


def test_after_a_failure_all_logout_tokens_for_that_client_wait_for_the_retry(
    register: Register, receiver: LogoutTokenReceiver, runtime: Runtime, clock: Clock, run_worker: RunWorker
) -> None:
    """§2.8: undelivered tokens are sent again; until then the other clients' tokens are sent first."""
    client = register(members={"backchannel_logout_uri": receiver.url})
    job = {"client_id": client.client_id, "owner": "ada", "sid": None}
    assert runtime.store.write(Transaction(rows=tuple(outbox.add(LOGOUT_TOKEN_JOB, job, clock()) for _ in range(3))))
    receiver.status = 500
    assert (run_worker(), len(receiver.logout_tokens)) == (0, 1)
    assert (run_worker(), len(receiver.logout_tokens)) == (0, 1)

    receiver.status = 200
    clock.forward(seconds=11)

    assert (run_worker(), len(receiver.logout_tokens)) == (3, 4)


def test_signing_out_does_not_fetch_the_metadata_document_of_a_client(
    ada: Browser, receiver: LogoutTokenReceiver, website: ClientWebsite, clock: Clock, run_worker: RunWorker
) -> None:
    """§2.5: the cached document is used although it has expired."""
    client_id = website.url("/client.json")
    document = {"client_id": client_id, "redirect_uris": [CALLBACK], "backchannel_logout_uri": receiver.url}
    website.publish("/client.json", document)
    obtain_openid_tokens(with_client(ada, CreatedClient(client_id, None)))
    clock.forward(seconds=400)
    fetches = len(website.requested_paths)

    sign_out(ada)

    assert len(website.requested_paths) == fetches
    assert run_worker() == 1
    assert len(receiver.logout_tokens) == 1


def test_the_worker_fetches_a_metadata_document_that_is_not_cached(
    ada: Browser,
    receiver: LogoutTokenReceiver,
    website: ClientWebsite,
    make_app: MakeApp,
    store_url: str,
    run_worker: RunWorker,
) -> None:
    """§2.5: the user signs out in another process, which has not cached the document."""
    client_id = website.url("/client.json")
    website.publish(
        "/client.json", {"client_id": client_id, "redirect_uris": [CALLBACK], "backchannel_logout_uri": receiver.url}
    )
    obtain_openid_tokens(with_client(ada, CreatedClient(client_id, None)))
    other_process = make_app(store_url).test_client()
    for name in ("valetkey_browser", "valetkey_session"):
        cookie = ada.http.get_cookie(name)
        assert cookie
        other_process.set_cookie(name, cookie.value)
    fetches = len(website.requested_paths)

    sign_out(Browser(other_process, ada.client))
    assert len(website.requested_paths) == fetches

    assert run_worker() == 1
    assert len(receiver.logout_tokens) == 1
