"""Rows are read as they were written, and each query and conditional write does what its name says."""

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

from tests.support.clock import NOW
from tests.support.store_assertions import count_rows
from valetkey.storage import (
    accounts,
    change_feed,
    clients,
    consents,
    grants,
    interactions,
    opaque_tokens,
    outbox,
    refresh_tokens,
    resources,
    retry_answers,
    sessions,
    signing_keys,
    tables,
)
from valetkey.storage.consents import Consent
from valetkey.storage.engine.open import sqlite_path
from valetkey.storage.engine.statement import BoundStatement, Statement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.grants import AuthorizationCode, Grant
from valetkey.storage.interactions import Interaction
from valetkey.storage.refresh_tokens import RefreshToken
from valetkey.storage.retry_answers import RetryAnswer
from valetkey.storage.sessions import Session
from valetkey.storage.signing_keys import SigningKeyRow

DIGEST_1, DIGEST_2, DIGEST_3 = b"1" * 32, b"\x00\xff" * 16, b"3" * 32
GRANT = Grant("g", "shop", "ada", "a b", '["https://api.example"]', 1.5, "acr", "pwd otp", NOW, NOW + 100)
CONSENT = Consent("ada", "shop", "a", NOW, NOW, None, '{"name":"Shop"}')
CODE = AuthorizationCode(DIGEST_1, "g", "shop", "https://shop.example/ü", 1, "challenge", None, NOW + 60)

SESSION = Session(DIGEST_1, "ada", DIGEST_3, NOW, NOW, NOW + 50, None)


_REMOVE_LATE = Statement(delete(tables.signing_keys).where(tables.signing_keys.c.kid == "late"))


def put(store: Store, *rows: BoundStatement) -> None:
    store.write(Transaction(rows=rows))


def test_a_client_is_found_with_its_unexpired_secrets(store: Store) -> None:
    metadata = {"client_name": "Shöp", "redirect_uris": ["https://a/"], "grant_types": ["x"], "scope": "b a"}
    put(store, clients.add("shop", "web", metadata | {"token_endpoint_auth_method": "client_secret_basic"}, NOW))
    put(store, clients.add_secret("shop", DIGEST_1, NOW, NOW + 10), clients.add_secret("shop", DIGEST_2, NOW))

    client = clients.find(store, "shop", NOW)

    assert client
    assert (client.name, client.redirect_uris, client.grant_types) == ("Shöp", ("https://a/",), frozenset({"x"}))
    assert (client.scope, client.is_public, client.disabled_at) == (frozenset({"a", "b"}), False, None)
    assert sorted(digest for digest, _ in client.secret_digests) == [DIGEST_2, DIGEST_1]
    later = clients.find(store, "shop", NOW + 10)
    assert later and [digest for digest, _ in later.secret_digests] == [DIGEST_2]
    assert clients.find(store, "other", NOW) is None


def test_a_client_can_be_changed_and_is_removed_with_its_secrets(store: Store) -> None:
    put(store, clients.add("shop", "web", {}, NOW), clients.add_secret("shop", DIGEST_1, NOW))
    client = clients.find(store, "shop", NOW)
    assert client and client.scope is None

    put(store, clients.change(client, metadata={"client_name": "New"}, disabled_at=NOW))
    put(store, clients.expire_secrets("shop", NOW + 5))

    changed = clients.find(store, "shop", NOW)
    assert changed and (changed.name, changed.disabled_at) == ("New", NOW)
    assert [expires for _, expires in changed.secret_digests] == [NOW + 5]
    put(store, clients.remove("shop"), clients.remove_secrets("shop"))
    assert clients.list_all(store) == []
    assert count_rows(store, "valetkey_client_secrets") == 0


def test_an_email_address_has_at_most_one_account(store: Store) -> None:
    assert store.write(Transaction(accounts.add("a", "ada@example.org", "Ada", "hash", NOW, {"picture": "p"})))
    assert not store.write(Transaction(accounts.add("b", "ada@example.org", "Eve", "hash", NOW)))

    account = accounts.find_by_email(store, "  ADA@Example.org ")

    assert account and (account.sub, account.name, account.claim_values) == ("a", "Ada", {"picture": "p"})
    assert [listed.sub for listed in accounts.list_all(store)] == ["a"]
    put(store, accounts.set_password("a", "other"), accounts.set_disabled("a", NOW))
    changed = accounts.find(store, "a")
    assert changed and (changed.password_hash, changed.disabled_at) == ("other", NOW)


def test_a_session_is_active_until_it_ends_expires_or_its_account_is_disabled(store: Store) -> None:
    put(store, accounts.add("a", "a@example.org", "A", None, NOW))
    for digest in (DIGEST_1, DIGEST_2, DIGEST_3):
        put(store, sessions.add(Session(digest, "a", b"browser", NOW, NOW, NOW + 100, "192.0.2.1")))

    session_and_account = sessions.find_active(store, DIGEST_1, NOW + 99)
    assert session_and_account
    assert (session_and_account[0].address, session_and_account[1].sub) == ("192.0.2.1", "a")
    assert sessions.find_active(store, DIGEST_1, NOW + 100) is None
    assert store.write(Transaction(sessions.end(DIGEST_1, NOW)))
    assert not store.write(Transaction(sessions.end(DIGEST_1, NOW)))
    assert sessions.find_active(store, DIGEST_1, NOW) is None
    put(store, accounts.set_disabled("a", NOW))
    assert sessions.find_active(store, DIGEST_2, NOW) is None
    put(store, accounts.set_disabled("a", None), sessions.end_all("a", NOW))
    assert sessions.find_active(store, DIGEST_2, NOW) is None
    assert sessions.has_session_from_browser(store, b"browser", "a"), "ended sessions count too"
    assert not sessions.has_session_from_browser(store, b"browser", "b")


def test_an_interaction_can_be_decided_only_once(store: Store) -> None:
    put(store, interactions.add(Interaction(DIGEST_1, DIGEST_2, "shop", "{}", NOW + 600)))

    assert interactions.find(store, DIGEST_1) == Interaction(DIGEST_1, DIGEST_2, "shop", "{}", NOW + 600)
    assert interactions.find(store, DIGEST_2) is None
    assert store.write(Transaction(interactions.decide(DIGEST_1, NOW)))
    assert not store.write(Transaction(interactions.decide(DIGEST_1, NOW)))


def test_a_consent_can_be_remembered_replaced_and_removed(store: Store) -> None:
    put(store, consents.remember(Consent("ada", "shop", "a", NOW, NOW, "192.0.2.1", "{}")))
    put(store, consents.remember(Consent("ada", "shop", "b", NOW + 9, NOW + 9, None, '{"name":"Shop"}')))

    assert consents.find(store, "ada", "shop") == Consent("ada", "shop", "a", NOW, NOW + 9, None, '{"name":"Shop"}')
    assert consents.find(store, "eve", "shop") is None
    put(store, consents.remove("ada", "shop"))
    assert consents.find(store, "ada", "shop") is None


def test_a_grant_is_added_only_while_the_consent_exists(store: Store) -> None:
    put(store, consents.remember(CONSENT))
    complete = replace(GRANT, sid="s", claims="{}")
    minimal = Grant("minimal", "shop", "ada", "a", "[]", None, None, None, NOW, NOW + 100)

    other, late = replace(GRANT, grant_id="other's", client_id="other"), replace(GRANT, grant_id="late")
    assert store.write(Transaction(grants.add_if_consented(complete, CONSENT)))
    assert store.write(Transaction(grants.add_if_consented(minimal, CONSENT)))
    assert not store.write(Transaction(grants.add_if_consented(other, CONSENT)))
    assert not store.write(Transaction(grants.add_if_consented(late, replace(CONSENT, scope="a b"))))
    assert not store.write(Transaction(grants.add_if_consented(late, replace(CONSENT, identity="[]"))))
    put(store, consents.remove("ada", "shop"))
    assert not store.write(Transaction(grants.add_if_consented(late, CONSENT)))
    assert (grants.find(store, "g"), grants.find(store, "minimal")) == (complete, minimal)
    assert (grants.find(store, "other's"), grants.find(store, "late")) == (None, None)


SESSION_CHANGES = {
    "unchanged": ({}, True),
    "session of another owner": ({"session_digest": DIGEST_2}, False),
    "session expired": ({"now": NOW + 50}, False),
    "consent has another scope": ({"consent": replace(CONSENT, scope="a b")}, False),
    "consent to another identity": ({"consent": replace(CONSENT, identity="[]")}, False),
}


@pytest.mark.parametrize("change", SESSION_CHANGES)
def test_a_grant_is_added_only_if_session_and_consent_are_unchanged(store: Store, change: str) -> None:
    put(store, accounts.add("ada", "ada@example.com", "Ada", None, NOW), sessions.add(SESSION))
    put(store, sessions.add(replace(SESSION, digest=DIGEST_2, sub="eve")))
    put(store, accounts.add("eve", "eve@example.com", "Eve", None, NOW))
    put(store, consents.remember(CONSENT))
    changed_arguments, is_added = SESSION_CHANGES[change]

    arguments: dict[str, Any] = {"consent": CONSENT, "session_digest": DIGEST_1, "now": NOW, **changed_arguments}
    assert store.write(Transaction(grants.add_if_consented_and_signed_in(GRANT, **arguments))) is is_added
    assert (grants.find(store, "g") == GRANT) is is_added


@pytest.mark.parametrize(
    "statement",
    [
        sessions.end_all("ada", NOW),
        accounts.set_disabled("ada", NOW),
        consents.remove("ada", "shop"),
    ],
    ids=["sessions ended", "account disabled", "consent withdrawn"],
)
def test_a_grant_is_not_added_after_sign_out_disabling_or_withdrawal(store: Store, statement: BoundStatement) -> None:
    put(store, accounts.add("ada", "ada@example.com", "Ada", None, NOW), sessions.add(SESSION))
    put(store, consents.remember(CONSENT), statement)

    assert not store.write(
        Transaction(grants.add_if_consented_and_signed_in(GRANT, CONSENT, session_digest=DIGEST_1, now=NOW))
    )
    assert grants.find(store, "g") is None


CONDITIONAL_WRITES = {
    "remembered consent": grants.add_if_consented(GRANT, CONSENT),
    "consent and session": grants.add_if_consented_and_signed_in(GRANT, CONSENT, session_digest=DIGEST_1, now=NOW),
}


CONSENT_CHANGES = {"removed": "DELETE FROM valetkey_consents", "narrowed": "UPDATE valetkey_consents SET scope = ''"}


@pytest.mark.parametrize("change", CONSENT_CHANGES.values(), ids=CONSENT_CHANGES)
@pytest.mark.parametrize("condition", CONDITIONAL_WRITES.values(), ids=CONDITIONAL_WRITES)
def test_a_grant_is_not_added_while_its_consent_is_being_withdrawn(
    store: Store, store_url: str, condition: BoundStatement, change: str
) -> None:
    """Adding a grant waits until a concurrent withdrawal is committed, since that would not revoke the new grant.

    Without FOR SHARE, PostgreSQL adds the grant.
    """
    put(store, consents.remember(CONSENT))
    put(store, accounts.add("ada", "ada@example.com", "Ada", None, NOW), sessions.add(SESSION))
    is_sqlite = store.dialect == "sqlite"
    other_connection: Any = sqlite3.connect(sqlite_path(store_url) or "") if is_sqlite else psycopg.connect(store_url)
    with closing(other_connection), ThreadPoolExecutor(1) as executor:
        other_connection.execute(change)
        write = executor.submit(store.write, Transaction(condition))
        time.sleep(0.3)
        is_done_early = write.done()
        other_connection.commit()

    assert (is_done_early, write.result()) == (False, False)
    assert grants.find(store, "g") is None


def test_connected_apps_show_the_latest_use_of_any_of_their_grants(store: Store) -> None:
    put(store, consents.remember(Consent("ada", "shop", "a", NOW, NOW, None)))
    put(store, consents.remember(Consent("ada", "late", "a", NOW + 1, NOW + 1, None)))
    for number, used_at in enumerate((NOW + 5, NOW + 7)):
        grant = Grant(f"g{number}", "shop", "ada", "a", "[]", None, None, None, NOW, NOW + 100)
        put(store, grants.add(grant), grants.set_last_used(grant.grant_id, used_at))

    apps = consents.list_by_owner(store, "ada")

    assert [(app.consent.client_id, app.last_used_at) for app in apps] == [("late", None), ("shop", NOW + 7)]
    assert consents.list_by_owner(store, "eve") == []


def test_a_grant_and_its_code_are_read_as_they_were_written(store: Store) -> None:
    put(store, grants.add(GRANT), grants.add_code(CODE))

    assert grants.find(store, "g") == GRANT
    assert GRANT.resource_list == ("https://api.example",)
    assert grants.find_code(store, DIGEST_1) == (CODE, GRANT)
    assert grants.find_code(store, DIGEST_2) is None
    put(store, grants.extend("g", NOW + 500))
    extended = grants.find(store, "g")
    assert extended and extended.expires_at == NOW + 500


def test_a_code_is_consumed_once_and_only_if_its_grant_is_not_revoked(store: Store) -> None:
    put(store, grants.add(GRANT), grants.add_code(CODE))
    assert store.write(Transaction(grants.consume_code(DIGEST_1, NOW)))
    assert not store.write(Transaction(grants.consume_code(DIGEST_1, NOW)))

    revoked = Grant("r", "shop", "ada", "a", "[]", None, None, None, NOW, NOW + 100)
    put(
        store,
        grants.add(revoked),
        grants.add_code(AuthorizationCode(DIGEST_2, "r", "shop", "u", 1, None, None, NOW + 60)),
    )
    put(store, grants.revoke("r", NOW))
    assert not store.write(Transaction(grants.consume_code(DIGEST_2, NOW)))


def test_a_refresh_token_is_used_once_and_only_if_its_grant_is_not_revoked_and_has_the_scope_that_was_read(
    store: Store,
) -> None:
    put(store, grants.add(GRANT))
    for digest in (DIGEST_1, DIGEST_2):
        put(store, refresh_tokens.add(RefreshToken(digest, "g", None, NOW, NOW + 100)))
    assert refresh_tokens.is_unused(store, DIGEST_1)
    assert store.write(Transaction(refresh_tokens.use(DIGEST_1, GRANT, NOW, DIGEST_3)))
    assert not store.write(Transaction(refresh_tokens.use(DIGEST_1, GRANT, NOW, DIGEST_3)))
    assert not refresh_tokens.is_unused(store, DIGEST_1)

    token_and_grant = refresh_tokens.find(store, DIGEST_1)
    assert token_and_grant
    assert (token_and_grant[0].used_at, bytes(token_and_grant[0].successor or b"")) == (NOW, DIGEST_3)
    assert not store.write(Transaction(refresh_tokens.use(DIGEST_2, replace(GRANT, scope="a b c"), NOW, DIGEST_3)))
    assert not store.write(Transaction(refresh_tokens.use(DIGEST_2, replace(GRANT, claims="{}"), NOW, DIGEST_3)))
    put(store, grants.revoke("g", NOW))
    assert not store.write(Transaction(refresh_tokens.use(DIGEST_2, GRANT, NOW, DIGEST_3)))
    assert not refresh_tokens.is_unused(store, DIGEST_3)


def test_a_retry_answer_can_be_stored_and_removed(store: Store) -> None:
    retry_answer = RetryAnswer(DIGEST_1, DIGEST_2, b"\x00encrypted", NOW + 10)
    put(store, retry_answers.add(retry_answer))

    assert retry_answers.find(store, DIGEST_1) == retry_answer
    put(store, retry_answers.remove(DIGEST_1))
    assert retry_answers.find(store, DIGEST_1) is None


def test_revoking_a_client_adds_each_unrevoked_grant_to_the_change_feed(store: Store) -> None:
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
        change_feed.add_for_unrevoked_grants("ada", "shop"),
        grants.revoke_all_of_owner_and_client("ada", "shop", NOW),
    )

    assert [(entry.kind, entry.subject) for entry in change_feed.read(store, None).entries] == [("grant", "1")]
    stored = [grants.find(store, grant_id) for grant_id in "1234"]
    assert [grant and grant.revoked_at for grant in stored] == [NOW, NOW, None, None]
    assert None not in stored


def test_an_opaque_token_is_found_with_its_claims(store: Store) -> None:
    put(store, opaque_tokens.add(DIGEST_1, {"exp": NOW + 5, "aud": ["a", "b"]}))

    assert opaque_tokens.find(store, DIGEST_1) == {"exp": NOW + 5, "aud": ["a", "b"]}
    assert opaque_tokens.find(store, DIGEST_2) is None


def test_a_resource_can_be_added_replaced_and_removed(store: Store) -> None:
    put(store, resources.upsert("https://a", {"resource_name": "A"}, NOW), resources.upsert("https://a", {"x": 1}, NOW))

    assert resources.list_all(store) == {"https://a": {"x": 1}}
    put(store, resources.remove("https://a"))
    assert resources.list_all(store) == {}


def test_signing_keys_are_listed_in_the_order_in_which_they_become_active(store: Store) -> None:
    initial_kids = [row.kid for row in signing_keys.list_all(store)]
    put(store, signing_keys.add(SigningKeyRow("late", "ES256", '{"kty": "EC"}', b"\x00", NOW + 9)))

    rows = signing_keys.list_all(store)
    assert [row.kid for row in rows] == [*initial_kids, "late"]
    assert rows[-1].public_jwk == {"kty": "EC"}
    put(store, signing_keys.retire("late", NOW + 20))
    assert signing_keys.list_all(store)[-1].retired_at == NOW + 20
    put(store, _REMOVE_LATE())  # the keys are created once for all tests


def test_a_job_is_leased_to_one_worker_until_it_is_done_or_the_lease_ends(store: Store) -> None:
    put(store, outbox.add("mail", {"to": "ada"}, NOW))
    ((job,),) = outbox.list_due(store, NOW).values()
    assert (job.kind, job.parse_payload(), job.attempts) == ("mail", {"to": "ada"}, 0)

    assert store.write(Transaction(outbox.acquire(job.job_id, NOW)))
    assert not store.write(Transaction(outbox.acquire(job.job_id, NOW + 59)))
    assert outbox.list_due(store, NOW + 59) == {}
    assert store.write(Transaction(outbox.acquire(job.job_id, NOW + 61)))
    put(store, outbox.schedule_retry(job.job_id, NOW + 300, "no answer"))
    assert outbox.list_due(store, NOW + 299) == {}
    assert [job.attempts for (job,) in outbox.list_due(store, NOW + 300).values()] == [2]
    put(store, outbox.park(job.job_id, NOW + 300, "no answer"))
    assert outbox.list_due(store, NOW + 1000) == {}
    put(store, outbox.remove(job.job_id))
    assert count_rows(store, "valetkey_outbox") == 0


@pytest.mark.parametrize("text", ["Zoë 🚲", "'; DROP TABLE valetkey_accounts; --", "a\nb\t\\", "%s %(x)s :x ?"])
def test_any_text_is_read_as_it_was_written(store: Store, text: str) -> None:
    put(store, accounts.add("a", "a@example.org", text, None, NOW))

    account = accounts.find(store, "a")

    assert account and account.name == text
    assert accounts.find(store, text) is None
