"""Decides which account a user of a provider signs in to, or creates one.

A user of a provider is identified by issuer and ``sub`` alone. An e-mail address connects a provider with an existing
account only if both sides have verified it. Who created an account with another person's address gains nothing.
"""

from __future__ import annotations

from valetkey.accounts.login_context import LoginContext
from valetkey.accounts.security_mail import new_browser_mail_statements, provider_mail_statements
from valetkey.accounts.sign_in import (
    ProviderAuthentication,
    SignInRefused,
    charge_attempt,
    has_signed_in_from,
    start_session,
)
from valetkey.activity.audit import audit_statement
from valetkey.protocol.secret import Secret, random_id
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.settings.providers import SignInProvider
from valetkey.storage import accounts, provider_links
from valetkey.storage.accounts import Account
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.provider_links import ProviderLink

from . import texts
from .authorization_response import VerifiedSignIn
from .errors import ProviderRefused
from .identity import ProviderIdentity
from .tokens import token_statements


class AccountExists(ProviderRefused):
    """An account has the user's e-mail address, and is not connected with the provider: sign in to it first."""


def sign_in_with_provider(
    verified: VerifiedSignIn, provider: SignInProvider, login_context: LoginContext, runtime: Runtime, now: float
) -> Secret:
    """Sign a user of a provider in, create an account if there is none, and return the session's secret.

    :raises AccountExists: if another account has the user's e-mail address, and the two may not be connected by it.
    :raises ProviderRefused: if the account is disabled, or the user has none and may not create one.
    """
    identity = verified.identity
    link = provider_links.find(runtime.store, provider.issuer, identity.subject)
    account = accounts.find(runtime.store, link.sub) if link else None
    if account is None:
        account = _connect_by_email(identity, provider, login_context, runtime, now)
    if account is None:
        account = _create_account(identity, provider, login_context, runtime, now)
    # A connection by address has a mail of its own, and a new account needs none.
    is_new_browser = link is not None and not has_signed_in_from(account.sub, login_context, runtime.store)
    mail = new_browser_mail_statements(account.sub, login_context, runtime, now) if is_new_browser else ()
    tokens = token_statements(verified, provider, runtime, now)
    authentication = ProviderAuthentication(
        provider.issuer,
        identity.subject,
        now if identity.auth_time is None else identity.auth_time,
        identity.acr,
        identity.amr,
        identity.sid,
    )
    try:
        return start_session(account, login_context, runtime, now, (*mail, *tokens), provider=authentication)
    except SignInRefused as refusal:
        raise ProviderRefused(texts.ACCOUNT_DISABLED, log_detail=f"account {account.sub}: {refusal}") from None


def _connect_by_email(
    identity: ProviderIdentity, provider: SignInProvider, login_context: LoginContext, runtime: Runtime, now: float
) -> Account | None:
    """Connect the account with the user's e-mail address to the provider and return it; ``None`` if there is none.

    Both sides must have verified the address. An account that another user of the provider is connected to is not
    connected: the provider may have given the address to another person.

    :raises AccountExists: if there is an account, and it may not be connected.
    """
    account = accounts.find_by_email(runtime.store, identity.email) if identity.email else None
    if account is None:
        return None
    is_verified = identity.email_is_verified and account.email_verified_at is not None
    sub, address = account.sub, login_context.address
    link = ProviderLink(identity.subject, provider.issuer, sub, identity.email, now)
    reason = "the address is not verified on both sides"
    if is_verified:
        event = audit_statement(
            "account.provider_connected", now, owner=sub, address=address, detail=provider.provider_id
        )
        mail = provider_mail_statements(sub, provider.name, login_context, runtime, now)
        if runtime.store.write(Transaction(provider_links.add_to_verified(link, account.email), (event, *mail))):
            return account
        present = provider_links.find(runtime.store, link.issuer, link.subject)
        if present is not None and present.sub == sub:  # the same user signed in in another window at the same time
            return account
        reason = "it is disabled or was changed, or another user of the provider is connected with it"
    raise AccountExists(
        texts.ACCOUNT_EXISTS.format(email=identity.email, provider=provider.name),
        log_detail=f"account {sub}: {reason}",
    )


def _create_account(
    identity: ProviderIdentity, provider: SignInProvider, login_context: LoginContext, runtime: Runtime, now: float
) -> Account:
    """Create an account for a user of a provider, connect the two, and return the account.

    :raises ProviderRefused: if the user may not have an account, or the provider sends no e-mail address.
    """
    check_sign_up(identity, provider, runtime.settings)
    email, address = identity.email, login_context.address
    if email is None:
        raise ProviderRefused(texts.NO_ADDRESS.format(provider=provider.name))
    network = caller_network(address)
    try:
        charge_attempt(("sign_up_limit", network), network, runtime, now)
    except SignInRefused as refusal:
        raise ProviderRefused(refusal.message) from refusal
    sub = random_id()
    claims = {"picture": identity.picture} if identity.picture else {}
    insert = accounts.add(sub, email, identity.name or email.partition("@")[0], None, now, claims)
    rows = [
        provider_links.add(ProviderLink(identity.subject, provider.issuer, sub, email, now)),
        audit_statement("account.created", now, owner=sub, address=address, detail=provider.provider_id),
    ]
    if identity.email_is_verified:
        rows.append(accounts.set_email_verified(sub, email, now))
    if not runtime.store.write(Transaction(insert, tuple(rows))):
        link = provider_links.find(runtime.store, provider.issuer, identity.subject)
        sub = link.sub if link else ""  # the same user signed in in another window at the same time
    account = accounts.find(runtime.store, sub)
    if account is None:
        raise ProviderRefused(texts.ANOTHER_WINDOW)
    return account


def check_sign_up(identity: ProviderIdentity, provider: SignInProvider, settings: Settings) -> None:
    """Check that a user of a provider may create an account.

    :raises ProviderRefused: if sign-up is off, or the user is not in one of the allowed domains.
    """
    allowed = settings.sign_up if provider.sign_up is None else provider.sign_up
    if allowed is True:
        return
    if allowed is False:
        raise ProviderRefused(texts.SIGN_UP_OFF.format(provider=provider.name), log_detail="sign-up is off")
    domains = {domain.lower() for domain in allowed}
    verified_domain = identity.email.rpartition("@")[2] if identity.email and identity.email_is_verified else None
    if verified_domain not in domains and identity.organizations.isdisjoint(domains):
        raise ProviderRefused(
            texts.NOT_A_MEMBER.format(provider=provider.name),
            log_detail=f"verified domain {verified_domain}, organizations {sorted(identity.organizations)}",
        )
