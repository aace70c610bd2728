"""Decides which account a user of a provider signs in to, or creates one.

A user of a provider is identified by issuer and ``sub`` alone. An e-mail address connects a provider with an existing
account only if both sides have verified it. If the provider has verified an address that another account has not
verified, the user may create a new account with it; the other account then has no address.
"""

from __future__ import annotations

from valetkey.accounts.errors import SignInRefused
from valetkey.accounts.login_context import LoginContext
from valetkey.accounts.security_mail import new_browser_mail_statements, provider_mail_statements
from valetkey.accounts.sessions import ProviderAuthentication, has_signed_in_from, start_provider_session
from valetkey.accounts.sign_in import charge_attempt
from valetkey.activity.audit import audit_statement
from valetkey.protocol.secret import Secret, random_id
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.settings.providers import SignInProvider
from valetkey.storage import accounts, mail_links, provider_links
from valetkey.storage.accounts import Account
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.provider_links import ProviderLink

from . import texts
from .authorization_response import VerifiedSignIn
from .errors import ProviderRefused
from .identity import ProviderIdentity
from .tokens import token_statements


class AccountExists(ProviderRefused):
    """An account has the user's e-mail address, and is not connected with the provider: sign in to it first.

    :ivar may_take_address: whether the user may instead have the address removed from that account, and create another.
    """

    may_take_address = False


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
        other = accounts.find_by_email(runtime.store, identity.email) if identity.email else None
        if other is None or _takes_address(verified, other, provider, runtime.settings):
            account = _create_account(identity, other, provider, login_context, runtime, now)
        else:
            account = _connect_by_email(identity, other, provider, login_context, runtime, now)
    # A connection by address has a mail of its own, and a new account needs none.
    is_new_browser = link is not None and not has_signed_in_from(account.sub, login_context, runtime.store)
    mail = new_browser_mail_statements(account.sub, login_context, runtime, now) if is_new_browser else ()
    tokens = token_statements(verified, provider, runtime, now)
    authentication = ProviderAuthentication(
        provider.issuer,
        identity.subject,
        identity.auth_time,
        identity.acr,
        identity.amr,
        identity.sid,
    )
    try:
        return start_provider_session(account, authentication, login_context, runtime, now, (*mail, *tokens))
    except SignInRefused as refusal:
        raise ProviderRefused(texts.ACCOUNT_DISABLED, log_detail=f"account {account.sub}: {refusal}") from None


def _takes_address(verified: VerifiedSignIn, other: Account, provider: SignInProvider, settings: Settings) -> bool:
    """Return whether the user has chosen to take the address of an account, and may."""
    return bool(verified.request.takes_address) and _may_take_address(verified.identity, other, provider, settings)


def _may_take_address(identity: ProviderIdentity, other: Account, provider: SignInProvider, settings: Settings) -> bool:
    """Return whether the provider has verified the address, the account has not, and the user may create another.

    False if the account is disabled: a new account with its address would undo that.
    """
    try:
        check_sign_up(identity, provider, settings)
    except ProviderRefused:
        return False
    return identity.email_is_verified and other.email_verified_at is None and other.disabled_at is None


def _connect_by_email(
    identity: ProviderIdentity,
    account: Account,
    provider: SignInProvider,
    login_context: LoginContext,
    runtime: Runtime,
    now: float,
) -> Account:
    """Connect the account with the user's e-mail address to the provider, and return it.

    Both sides must have verified the address. A user of the provider who was disconnected from the account is not
    connected again. An account that another user of the provider is connected to is not connected: the provider may
    have given the address to another person.

    :raises AccountExists: if the account may not be connected.
    """
    sub, email = account.sub, identity.email or ""
    link = ProviderLink(identity.subject, provider.issuer, sub, email, now)
    reason = "the address is not verified on both sides"
    if identity.email_is_verified and account.email_verified_at is not None:
        event = audit_statement(
            "account.provider_connected", now, owner=sub, address=login_context.address, detail=provider.provider_id
        )
        mail = provider_mail_statements(sub, provider.name, login_context, runtime, now)
        if runtime.store.write(Transaction(provider_links.add_to_verified(link, email), (event, *mail))):
            return account
        present = provider_links.find(runtime.store, link.issuer, link.subject)
        if present is not None and present.sub == sub:  # the same user signed in in another window at the same time
            return account
        reason = "it is disabled or was changed, or another user of the provider is connected, or it was disconnected"
    refusal = AccountExists(
        texts.ACCOUNT_EXISTS.format(email=email, provider=provider.name), log_detail=f"account {sub}: {reason}"
    )
    refusal.may_take_address = _may_take_address(identity, account, provider, runtime.settings)
    raise refusal


def _create_account(
    identity: ProviderIdentity,
    other: Account | None,
    provider: SignInProvider,
    login_context: LoginContext,
    runtime: Runtime,
    now: float,
) -> Account:
    """Create an account for a user of a provider, connect the two, and return the account.

    :param other: the account that loses its address to the new one; ``None`` if no account has the address.
    :raises ProviderRefused: if the user may not have an account, or the provider sends no e-mail address; then nothing
        changes.
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
    rows = [
        accounts.add(sub, email, identity.name or email.partition("@")[0], None, now, claims),
        provider_links.remove_without_account(sub),  # if the address is that of an account meanwhile
        audit_statement("account.created", now, owner=sub, address=address, detail=provider.provider_id, created=sub),
    ]
    if other is not None:
        rows.insert(0, accounts.remove_unverified_email(other.sub, email))
        rows.append(mail_links.invalidate_all_if_account_exists(email, sub, now))
        rows.append(audit_statement("account.address_removed", now, owner=other.sub, address=address, created=sub))
    if identity.email_is_verified:
        rows.append(accounts.set_email_verified(sub, email, now))
    link = ProviderLink(identity.subject, provider.issuer, sub, email, now)
    runtime.store.write(Transaction(provider_links.add(link), tuple(rows)))
    # If the same user signed in in another window at the same time, it is the account that was created there.
    present = provider_links.find(runtime.store, provider.issuer, identity.subject)
    account = accounts.find(runtime.store, present.sub) if present else None
    if account is None:
        raise ProviderRefused(texts.ACCOUNT_CHANGED)
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
