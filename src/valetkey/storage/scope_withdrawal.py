"""Withdrawal of scopes and claims from all grants of a resource owner to a client, and from the grants' tokens."""

from __future__ import annotations

from sqlalchemy import Text, and_, bindparam, literal, select, update

from .change_feed import insert_entries_for
from .engine.statement import BoundStatement, Statement
from .engine.store import Store
from .grants import UNREVOKED_OF_OWNER_AND_CLIENT
from .scope_columns import has_scope, without_scope
from .tables import grants, personal_access_tokens

_GRANTS_WITH_SCOPE = and_(UNREVOKED_OF_OWNER_AND_CLIENT, has_scope(grants.c.scope))
_ANNOUNCE = insert_entries_for(
    "scope", grants.c.grant_id.concat(literal(" ", Text)).concat(bindparam("name", type_=Text)), _GRANTS_WITH_SCOPE
)
_REVOKE_PERSONAL_TOKENS = Statement(
    update(personal_access_tokens)
    .where(
        personal_access_tokens.c.revoked_at.is_(None),
        has_scope(personal_access_tokens.c.scope),
        personal_access_tokens.c.grant_id.in_(select(grants.c.grant_id).where(UNREVOKED_OF_OWNER_AND_CLIENT)),
    )
    .values(revoked_at=bindparam("at"))
)
_GRANTS_WITHOUT_OTHER_SCOPE = and_(UNREVOKED_OF_OWNER_AND_CLIENT, grants.c.scope == bindparam("name", type_=Text))
_ANNOUNCE_END = insert_entries_for("grant", grants.c.grant_id, _GRANTS_WITHOUT_OTHER_SCOPE)
_END = Statement(update(grants).where(_GRANTS_WITHOUT_OTHER_SCOPE).values(revoked_at=bindparam("at")))
_NARROW = Statement(update(grants).where(_GRANTS_WITH_SCOPE).values(scope=without_scope(grants.c.scope)))


_LIST_CLAIMS = Statement(
    select(grants.c.grant_id, grants.c.claims).where(UNREVOKED_OF_OWNER_AND_CLIENT, grants.c.claims.is_not(None))
)
_REPLACE_CLAIMS = Statement(
    update(grants)
    .where(grants.c.grant_id == bindparam("wanted"), grants.c.claims == bindparam("old"))
    .values(claims=bindparam("new"))
)


def withdrawal_statements(owner: str, client_id: str, name: str, now: float) -> tuple[BoundStatement, ...]:
    """Return SQL statements, not yet run, that withdraw a scope from all unrevoked grants of an owner to a client.

    The grants lose the scope for good, so that their refresh tokens give no more access tokens with it. The access
    tokens that have the scope are revoked, and so are the personal access tokens with it that the client created. A
    grant that has no other scope is revoked.

    :param name: the scope's name.
    """
    parameters = {"of_owner": owner, "of_client": client_id, "padded": f" {name} "}
    return (
        _ANNOUNCE(**parameters, name=name),
        _REVOKE_PERSONAL_TOKENS(**parameters, at=now),
        _ANNOUNCE_END(of_owner=owner, of_client=client_id, name=name),
        _END(of_owner=owner, of_client=client_id, name=name, at=now),
        _NARROW(**parameters),
    )


def list_requested_claims(store: Store, owner: str, client_id: str) -> list[tuple[str, str]]:
    """Return the id and the individually requested claims, as JSON, of each unrevoked grant that has such claims."""
    return [(row[0], row[1]) for row in store.fetch_all(_LIST_CLAIMS(of_owner=owner, of_client=client_id))]


def replace_requested_claims(grant_id: str, old: str, new: str | None) -> BoundStatement:
    """Return the SQL statement, not yet run, that replaces the individually requested claims of a grant.

    It changes nothing if the claims are not ``old`` any more.
    """
    return _REPLACE_CLAIMS(wanted=grant_id, old=old, new=new)
