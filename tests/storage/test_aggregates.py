"""What is written comes back as it was, and each question is answered as its name says."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import delete

from tests.storage.conftest import NOW
from tests.support.browser_client import count_rows
from valetkey.storage import (
    accounts,
    change_feed,
    clients,
    consents,
    grants,
    interactions,
    opaque_tokens,
    outbox,
    resources,
    signing_keys,
    tables,
)
from valetkey.storage.accounts import Session
from valetkey.storage.consents import Consent
from valetkey.storage.engine.open import sqlite_path
from valetkey.storage.engine.statement import BoundStatement, Statement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import AuthorizationCode, Grant, RefreshToken, RetryAnswer
from valetkey.storage.interactions import Interaction
from valetkey.storage.signing_keys import SigningKeyRow

ONE, TWO, THREE = b"1" * 32, b"\x00\xff" * 16, b"3" * 32
GRANT = Grant("g", "shop", "ada", "a b", '["https://api.example"]', 1.5, "acr", "pwd otp", NOW, NOW + 100)
CODE = AuthorizationCode(ONE, "g", "shop", "https://shop.example/ü", 1, "challenge", None, NOW + 60)

SESSION = Session(ONE, "ada", THREE, NOW, NOW + 50, None)


_REMOVE_LATE = Statement(delete(tables.signing_keys).where(tables.signing_keys.c.kid == "late"))


def put(store: Store, *rows: BoundStatement) -> None:
    store.write(Transaction(rows=rows))


def test_a_client_comes_back_with_its_living_secrets(store: Store) -> None:
    about = {"client_name": "Shöp", "redirect_uris": ["https://a/"], "grant_types": ["x"], "scope": "b a"}
    put(store, clients.add("shop", "web", about | {"token_endpoint_auth_method": "client_secret_basic"}, NOW))
    put(store, clients.add_secret("shop", ONE, NOW, NOW + 10), clients.add_secret("shop", TWO, NOW))

    found = clients.find(store, "shop", NOW)

    assert found
    assert (found.name, found.redirect_uris, found.grant_types) == ("Shöp", ("https://a/",), frozenset({"x"}))
    assert (found.scope, found.is_public, found.disabled_at) == (frozenset({"a", "b"}), False, None)
    assert sorted(digest for digest, _ in found.secret_digests) == [TWO, ONE]
    later = clients.find(store, "shop", NOW + 10)
    assert later and [digest for digest, _ in later.secret_digests] == [TWO]
    assert clients.find(store, "other", NOW) is None


def test_a_client_is_changed_and_removed_with_its_secrets(store: Store) -> None:
    put(store, clients.add("shop", "web", {}, NOW), clients.add_secret("shop", ONE, NOW))
    client = clients.find(store, "shop", NOW)
    assert client and client.scope is None

    put(store, clients.change(client, metadata={"client_name": "New"}, disabled_at=NOW))
    put(store, clients.expire_secrets("shop", NOW + 5))

    changed = clients.find(store, "shop", NOW)
    assert changed and (changed.name, changed.disabled_at) == ("New", NOW)
    assert [expires for _, expires in changed.secret_digests] == [NOW + 5]
    put(store, *clients.removal_statements("shop"))
    assert clients.list_all(store) == []
    assert count_rows(store, "valetkey_client_secrets") == 0


def test_an_e_mail_address_has_one_account(store: Store) -> None:
    assert store.write(Transaction(accounts.add("a", "ada@example.org", "Ada", "hash", NOW, {"picture": "p"})))
    assert not store.write(Transaction(accounts.add("b", "ada@example.org", "Eve", "hash", NOW)))

    found = accounts.find_by_email(store, "  ADA@Example.org ")

    assert found and (found.sub, found.name, found.claim_values) == ("a", "Ada", {"picture": "p"})
    assert [one.sub for one in accounts.list_all(store)] == ["a"]
    put(store, accounts.set_password("a", "other"), accounts.set_disabled("a", NOW))
    changed = accounts.find(store, "a")
    assert changed and (changed.password_hash, changed.disabled_at) == ("other", NOW)


def test_a_session_lasts_until_it_ends_expires_or_its_account_is_disabled(store: Store) -> None:
    put(store, accounts.add("a", "a@example.org", "A", None, NOW))
    for digest in (ONE, TWO, THREE):
        put(store, accounts.add_session(Session(digest, "a", b"browser", NOW, NOW + 100, "192.0.2.1")))

    found = accounts.find_active_session(store, ONE, NOW + 99)
    assert found and (found[0].address, found[1].sub) == ("192.0.2.1", "a")
    assert accounts.find_active_session(store, ONE, NOW + 100) is None
    assert store.write(Transaction(accounts.end_session(ONE, NOW)))
    assert not store.write(Transaction(accounts.end_session(ONE, NOW)))
    assert accounts.find_active_session(store, ONE, NOW) is None
    put(store, accounts.set_disabled("a", NOW))
    assert accounts.find_active_session(store, TWO, NOW) is None
    put(store, accounts.set_disabled("a", None), accounts.end_sessions("a", NOW))
    assert accounts.find_active_session(store, TWO, NOW) is None
    assert accounts.has_session_from_browser(store, b"browser", "a"), "an ended session still vouches for the browser"
    assert not accounts.has_session_from_browser(store, b"browser", "b")


def test_an_interaction_is_decided_once(store: Store) -> None:
    put(store, interactions.add(Interaction(ONE, TWO, "shop", "{}", NOW + 600)))

    assert interactions.find(store, ONE) == Interaction(ONE, TWO, "shop", "{}", NOW + 600)
    assert interactions.find(store, TWO) is None
    assert store.write(Transaction(interactions.decide(ONE, NOW)))
    assert not store.write(Transaction(interactions.decide(ONE, NOW)))


def test_a_consent_is_remembered_replaced_and_removed(store: Store) -> None:
    put(store, consents.remember(Consent("ada", "shop", "a", NOW, NOW, "192.0.2.1")))
    put(store, consents.remember(Consent("ada", "shop", "a b", NOW + 9, NOW + 9, None)))

    assert consents.find(store, "ada", "shop") == Consent("ada", "shop", "a b", NOW, NOW + 9, None)
    assert consents.find(store, "eve", "shop") is None
    put(store, consents.remove("ada", "shop"))
    assert consents.find(store, "ada", "shop") is None


def test_a_grant_is_added_only_while_its_consent_is_there(store: Store) -> None:
    put(store, consents.remember(Consent("ada", "shop", "a", NOW, NOW, None)))
    whole = replace(GRANT, sid="s", claims="{}")
    bare = Grant("bare", "shop", "ada", "a", "[]", None, None, None, NOW, NOW + 100)

    assert store.write(Transaction(grants.add_if_consented(whole)))
    assert store.write(Transaction(grants.add_if_consented(bare)))
    assert not store.write(Transaction(grants.add_if_consented(replace(GRANT, grant_id="other's", client_id="other"))))
    put(store, consents.remove("ada", "shop"))
    assert not store.write(Transaction(grants.add_if_consented(replace(GRANT, grant_id="late"))))
    assert [grants.find(store, name) for name in ("g", "bare", "other's", "late")] == [whole, bare, None, None]


IN_VISIT = {
    "as it was": ({}, True),
    "another sign-in": ({"session_digest": TWO}, False),
    "over": ({"now": NOW + 50}, False),
    "another scope": ({"consented_scope": "a b"}, False),
}


@pytest.mark.parametrize("changed", IN_VISIT)
def test_a_grant_is_added_only_while_a_visit_is_as_it_was(store: Store, changed: str) -> None:
    put(store, accounts.add("ada", "ada@example.com", "Ada", None, NOW), accounts.add_session(SESSION))
    put(store, accounts.add_session(replace(SESSION, digest=TWO, sub="eve")))
    put(store, accounts.add("eve", "eve@example.com", "Eve", None, NOW))
    put(store, consents.remember(Consent("ada", "shop", "a", NOW, NOW, None)))
    more, is_added = IN_VISIT[changed]

    given: dict[str, Any] = {"session_digest": ONE, "consented_scope": "a", "now": NOW, **more}
    assert store.write(Transaction(grants.add_if_consented_and_signed_in(GRANT, **given))) is is_added
    assert (grants.find(store, "g") == GRANT) is is_added


@pytest.mark.parametrize(
    "row",
    [
        accounts.end_sessions("ada", NOW),
        accounts.set_disabled("ada", NOW),
        consents.remove("ada", "shop"),
    ],
    ids=["signed out", "disabled", "taken back"],
)
def test_a_grant_is_not_added_when_a_visit_is_over(store: Store, row: BoundStatement) -> None:
    put(store, accounts.add("ada", "ada@example.com", "Ada", None, NOW), accounts.add_session(SESSION))
    put(store, consents.remember(Consent("ada", "shop", "a", NOW, NOW, None)), row)

    assert not store.write(
        Transaction(grants.add_if_consented_and_signed_in(GRANT, session_digest=ONE, consented_scope="a", now=NOW))
    )
    assert grants.find(store, "g") is None


CLAIMS = {
    "remembered": grants.add_if_consented(GRANT),
    "in a visit": grants.add_if_consented_and_signed_in(GRANT, session_digest=ONE, consented_scope="a", now=NOW),
}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_who_takes_a_consent_back_at_the_same_moment_ends_it(
    store: Store, store_url: str, claim: BoundStatement
) -> None:
    """Nobody may add a grant that the person who takes back does not see; without FOR KEY SHARE PostgreSQL adds it."""
    put(store, consents.remember(Consent("ada", "shop", "a", NOW, NOW, None)))
    put(store, accounts.add("ada", "ada@example.com", "Ada", None, NOW), accounts.add_session(SESSION))
    is_sqlite = store.dialect == "sqlite"
    other: Any = sqlite3.connect(sqlite_path(store_url) or "") if is_sqlite else psycopg.connect(store_url)
    with closing(other), ThreadPoolExecutor(1) as app:
        other.execute("DELETE FROM valetkey_consents WHERE owner = 'ada'")
        added = app.submit(store.write, Transaction(claim))
        time.sleep(0.3)
        is_early = added.done()
        other.commit()

    assert (is_early, added.result()) == (False, False)
    assert grants.find(store, "g") is None


def test_connected_apps_tell_the_last_use_of_any_of_their_grants(store: Store) -> None:
    put(store, consents.remember(Consent("ada", "shop", "a", NOW, NOW, None)))
    put(store, consents.remember(Consent("ada", "late", "a", NOW + 1, NOW + 1, None)))
    for number, used in enumerate((NOW + 5, NOW + 7)):
        one = Grant(f"g{number}", "shop", "ada", "a", "[]", None, None, None, NOW, NOW + 100)
        put(store, grants.add(one), grants.set_last_used(one.grant_id, used))

    apps = consents.list_by_owner(store, "ada")

    assert [(app.consent.client_id, app.last_used_at) for app in apps] == [("late", None), ("shop", NOW + 7)]
    assert consents.list_by_owner(store, "eve") == []


def test_a_grant_and_its_code_come_back(store: Store) -> None:
    put(store, grants.add(GRANT), grants.add_code(CODE))

    assert grants.find(store, "g") == GRANT
    assert GRANT.resource_list == ("https://api.example",)
    assert grants.find_code(store, ONE) == (CODE, GRANT)
    assert grants.find_code(store, TWO) is None
    put(store, grants.extend("g", NOW + 500))
    extended = grants.find(store, "g")
    assert extended and extended.expires_at == NOW + 500


def test_a_code_is_consumed_once_and_only_while_its_grant_lives(store: Store) -> None:
    put(store, grants.add(GRANT), grants.add_code(CODE))
    assert store.write(Transaction(grants.consume_code(ONE, NOW)))
    assert not store.write(Transaction(grants.consume_code(ONE, NOW)))

    revoked = Grant("r", "shop", "ada", "a", "[]", None, None, None, NOW, NOW + 100)
    put(store, grants.add(revoked), grants.add_code(AuthorizationCode(TWO, "r", "shop", "u", 1, None, None, NOW + 60)))
    put(store, grants.revoke("r", NOW))
    assert not store.write(Transaction(grants.consume_code(TWO, NOW)))


def test_a_refresh_token_is_used_once_and_only_while_its_grant_lives(store: Store) -> None:
    put(store, grants.add(GRANT))
    for digest in (ONE, TWO):
        put(store, grants.add_refresh_token(RefreshToken(digest, "g", None, NOW, NOW + 100)))
    assert grants.is_refresh_token_unused(store, ONE)
    assert store.write(Transaction(grants.use_refresh_token(ONE, NOW, THREE)))
    assert not store.write(Transaction(grants.use_refresh_token(ONE, NOW, THREE)))
    assert not grants.is_refresh_token_unused(store, ONE)

    found = grants.find_refresh_token(store, ONE)
    assert found and (found[0].used_at, bytes(found[0].successor or b"")) == (NOW, THREE)
    put(store, grants.revoke("g", NOW))
    assert not store.write(Transaction(grants.use_refresh_token(TWO, NOW, THREE)))
    assert not grants.is_refresh_token_unused(store, THREE)


def test_a_retry_answer_is_kept_and_erased(store: Store) -> None:
    kept = RetryAnswer(ONE, TWO, b"\x00sealed", NOW + 10)
    put(store, grants.add_retry_answer(kept))

    assert grants.find_retry_answer(store, ONE) == kept
    put(store, grants.remove_retry_answer(ONE))
    assert grants.find_retry_answer(store, ONE) is None


def test_revoking_an_app_names_each_living_grant_in_the_feed(store: Store) -> None:
    for grant_id, owner, client in (
        ("1", "ada", "shop"),
        ("2", "ada", "shop"),
        ("3", "eve", "shop"),
        ("4", "ada", "x"),
    ):
        put(store, grants.add(Grant(grant_id, client, owner, "a", "[]", None, None, None, NOW, NOW + 9)))
    put(store, grants.revoke("2", NOW))

    put(
        store,
        change_feed.add_for_unrevoked_grants("ada", "shop", NOW, NOW + 50),
        grants.revoke_all_of_owner_and_client("ada", "shop", NOW),
    )

    assert [(one.kind, one.subject, one.at) for one in change_feed.list_since(store, NOW)] == [("grant", "1", NOW)]
    alive = [grant_id for grant_id in "1234" if grants.find(store, grant_id).revoked_at is None]  # type: ignore[union-attr]
    assert alive == ["3", "4"]


def test_the_feed_tells_what_was_written_since(store: Store) -> None:
    put(store, change_feed.add("token", "a", NOW, NOW + 9), change_feed.add("owner", "b", NOW + 5, NOW + 9))

    assert [one.subject for one in change_feed.list_since(store, NOW)] == ["a", "b"]
    assert [one.subject for one in change_feed.list_since(store, NOW + 1)] == ["b"]
    assert len({one.revocation_id for one in change_feed.list_since(store, 0)}) == 2


def test_an_opaque_token_comes_back_with_its_claims(store: Store) -> None:
    put(store, opaque_tokens.add(ONE, {"exp": NOW + 5, "aud": ["a", "b"]}))

    assert opaque_tokens.find(store, ONE) == {"exp": NOW + 5, "aud": ["a", "b"]}
    assert opaque_tokens.find(store, TWO) is None


def test_a_resource_is_put_replaced_and_removed(store: Store) -> None:
    put(store, resources.upsert("https://a", {"resource_name": "A"}, NOW), resources.upsert("https://a", {"x": 1}, NOW))

    assert resources.list_all(store) == {"https://a": {"x": 1}}
    put(store, resources.remove("https://a"))
    assert resources.list_all(store) == {}


def test_signing_keys_come_in_the_order_in_which_they_sign(store: Store) -> None:
    first = [row.kid for row in signing_keys.list_all(store)]
    put(store, signing_keys.add(SigningKeyRow("late", "ES256", '{"kty": "EC"}', b"\x00", NOW + 9)))

    rows = signing_keys.list_all(store)
    assert [row.kid for row in rows] == [*first, "late"]
    assert rows[-1].public_jwk == {"kty": "EC"}
    put(store, signing_keys.retire("late", NOW + 20))
    assert signing_keys.list_all(store)[-1].retired_at == NOW + 20
    put(store, _REMOVE_LATE())  # the keys are made once for all tests


def test_a_job_is_taken_by_one_worker_until_it_is_done_or_the_worker_is_dead(store: Store) -> None:
    put(store, outbox.add("mail", {"to": "ada"}, NOW))
    (job,) = outbox.list_due(store, NOW)
    assert (job.kind, job.payload, job.attempts) == ("mail", {"to": "ada"}, 0)

    assert store.write(Transaction(outbox.acquire(job.job_id, NOW, NOW + 60)))
    assert not store.write(Transaction(outbox.acquire(job.job_id, NOW + 59, NOW + 200)))
    assert outbox.list_due(store, NOW + 59) == []
    assert store.write(Transaction(outbox.acquire(job.job_id, NOW + 61, NOW + 120)))
    put(store, outbox.schedule_retry(job.job_id, NOW + 300, "no answer"))
    assert outbox.list_due(store, NOW + 299) == []
    assert [one.attempts for one in outbox.list_due(store, NOW + 300)] == [2]
    put(store, outbox.mark_failed(job.job_id, NOW + 300, "no answer"))
    assert outbox.list_due(store, NOW + 1000) == []
    put(store, outbox.complete(job.job_id))
    assert count_rows(store, "valetkey_outbox") == 0


@pytest.mark.parametrize("text", ["Zoë 🚲", "'; DROP TABLE valetkey_accounts; --", "a\nb\t\\", "%s %(x)s :x ?"])
def test_any_text_comes_back_as_it_was(store: Store, text: str) -> None:
    put(store, accounts.add("a", "a@example.org", text, None, NOW))

    found = accounts.find(store, "a")

    assert found and found.name == text
    assert accounts.find(store, text) is None
