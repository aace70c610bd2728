"""Users of providers who were disconnected from an account: a verified address does not connect them again."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, delete

from .engine.records import InsertStatement
from .engine.statement import BoundStatement, Statement
from .tables import provider_disconnections


@dataclass(frozen=True, slots=True)
class ProviderDisconnection:
    """A user of a provider who was disconnected from an account.

    :param sub: the account's ``sub``.
    :param issuer: the provider's issuer identifier.
    :param subject: the user's id at the provider, its claim ``sub``.
    """

    sub: str
    issuer: str
    subject: str


add = InsertStatement(provider_disconnections, ProviderDisconnection, ignores_duplicates=True)
_REMOVE = Statement(
    delete(provider_disconnections).where(
        provider_disconnections.c.sub == bindparam("of_account"),
        provider_disconnections.c.issuer == bindparam("of_issuer"),
        provider_disconnections.c.subject == bindparam("of_subject"),
    )
)
_REMOVE_ALL_OF_ACCOUNT = Statement(
    delete(provider_disconnections).where(provider_disconnections.c.sub == bindparam("of_account"))
)


def remove(disconnection: ProviderDisconnection) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes a disconnection: the user connected the provider again."""
    return _REMOVE(of_account=disconnection.sub, of_issuer=disconnection.issuer, of_subject=disconnection.subject)


def remove_all_of_account(sub: str) -> BoundStatement:
    """Return the SQL statement, not yet run, that removes all disconnections of an account."""
    return _REMOVE_ALL_OF_ACCOUNT(of_account=sub)
