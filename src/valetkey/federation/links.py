"""Connects an account with providers, and disconnects it: the user manages this on the account page."""

from __future__ import annotations

from dataclasses import dataclass

from valetkey.accounts.login_context import LoginContext
from valetkey.accounts.security_mail import provider_mail_statements
from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.openid.session_logout import logout_statements
from valetkey.runtime import Runtime
from valetkey.settings.providers import SignInProvider
from valetkey.storage import accounts, provider_disconnections, provider_links, sessions
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.provider_disconnections import ProviderDisconnection
from valetkey.storage.provider_links import ProviderLink

from . import texts
from .authorization_response import VerifiedSignIn
from .errors import ProviderRefused
from .tokens import token_statements


@dataclass(frozen=True, slots=True)
class ProviderState:
    """A provider on the account page: ``link`` is ``None`` if the account is not connected with it.

    :param may_disconnect: whether there is another way to sign in.
    """

    provider: SignInProvider
    link: ProviderLink | None
    may_disconnect: bool


def list_providers(sub: str, runtime: Runtime) -> list[ProviderState]:
    """Return all providers in the order of the setting, with the links of an account."""
    links = {link.issuer: link for link in provider_links.list_of_account(runtime.store, sub)}
    account = accounts.find(runtime.store, sub)
    has_password = runtime.settings.password_sign_in and account is not None and account.has_usable_password
    linked = [provider for provider in runtime.settings.sign_in_with if provider.issuer in links]
    may_disconnect = has_password or len(linked) > 1
    return [
        ProviderState(provider, links.get(provider.issuer), may_disconnect)
        for provider in runtime.settings.sign_in_with
    ]


def is_connected(sub: str, provider: SignInProvider, store: Store) -> bool:
    """Return whether an account is connected with a user of a provider."""
    return provider.issuer in {link.issuer for link in provider_links.list_of_account(store, sub)}


def connect_provider(
    verified: VerifiedSignIn,
    provider: SignInProvider,
    sub: str,
    login_context: LoginContext,
    runtime: Runtime,
    now: float,
) -> None:
    """Connect the account of the signed-in user with a provider.

    :param sub: the ``sub`` of the account to which the browser is signed in.
    :raises ProviderRefused: if the sign-in was begun for another account, the user of the provider is connected with
        another account, or the account with another user of the provider, or if the browser's session ended meanwhile.
    """
    session = login_context.session
    if verified.request.sub != sub or session is None:
        raise ProviderRefused(texts.ANOTHER_ACCOUNT, log_detail="begun by another account")
    link = ProviderLink(verified.identity.subject, provider.issuer, sub, verified.identity.email, now)
    event = audit_statement(
        "account.provider_connected", now, owner=sub, address=login_context.address, detail=provider.provider_id
    )
    mail = provider_mail_statements(sub, provider.name, login_context, runtime, now)
    tokens = token_statements(verified, provider, runtime, now)
    condition = provider_links.add_in_session(link, session.digest(), now)
    again = provider_disconnections.remove(ProviderDisconnection(sub, link.issuer, link.subject))
    if runtime.store.write(Transaction(condition, (again, event, *mail, *tokens))):
        return
    present = provider_links.find(runtime.store, link.issuer, link.subject)
    if present is None:
        is_other_user = is_connected(sub, provider, runtime.store)
        sentence = texts.OTHER_USER_CONNECTED if is_other_user else texts.SIGNED_OUT
        raise ProviderRefused(sentence.format(provider=provider.name))
    if present.sub != sub:
        raise ProviderRefused(texts.CONNECTED_ELSEWHERE.format(provider=provider.name))
    runtime.store.write_all(*tokens)  # it is connected already


def disconnect_provider(
    provider: SignInProvider,
    sub: str,
    current_session: bytes,
    login_context: LoginContext,
    runtime: Runtime,
    now: float,
) -> bool:
    """Disconnect an account from a provider, and end its other sessions that began with this provider.

    Only the user connects it again, on the account page: a verified address does not.

    :param current_session: digest of the browser's session, which stays active.
    :returns: ``False`` if it is the only way in which the owner can sign in; then nothing changes.
    """
    links = {link.issuer: link for link in provider_links.list_of_account(runtime.store, sub)}
    link = links.pop(provider.issuer, None)
    if link is None:
        return True
    others = [other.issuer for other in runtime.settings.sign_in_with if other.issuer in links]
    condition = provider_links.remove(
        link, others[0] if others else "", password_counts=runtime.settings.password_sign_in
    )
    rows = _disconnection_statements(link, provider.provider_id, login_context.address, current_session, runtime, now)
    return runtime.store.write(Transaction(condition, rows))


def disconnect_by_operator(link: ProviderLink, runtime: Runtime, now: float) -> None:
    """Disconnect an account from a provider, and end its sessions that began with this provider.

    It may be the only way to sign in. If the account was disconnected or removed meanwhile, nothing changes.
    """
    ids = {provider.issuer: provider.provider_id for provider in runtime.settings.sign_in_with}
    rows = _disconnection_statements(link, ids.get(link.issuer, link.issuer), None, None, runtime, now)
    runtime.store.write(Transaction(provider_links.remove_always(link), rows))


def _disconnection_statements(
    link: ProviderLink, detail: str, address: str | None, remaining_session: bytes | None, runtime: Runtime, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, for what follows from the removal of a link.

    :param detail: names the provider in the audit log.
    :param address: network address of the caller; ``None`` for the operator.
    :param remaining_session: digest of a session that stays active.
    """
    rows = [
        provider_disconnections.add(ProviderDisconnection(link.sub, link.issuer, link.subject)),
        audit_statement("account.provider_disconnected", now, owner=link.sub, address=address, detail=detail),
        sessions.end_others_of_provider(link.sub, link.issuer, remaining_session, now),
    ]
    for session in sessions.list_active(runtime.store, link.sub, now):
        if session.issuer == link.issuer and bytes(session.digest) != remaining_session:
            rows += logout_statements(link.sub, session.sid, runtime, now, address)
    return tuple(rows)
