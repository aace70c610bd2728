"""Sign-in with a password, and the limits of sign-in attempts."""

from __future__ import annotations

from valetkey.protocol.display_name import describe_character
from valetkey.protocol.email_address import digest_email_address, is_email_address, normalize_email_address
from valetkey.protocol.errors import TooManyRequests
from valetkey.protocol.refusal import describe_wait
from valetkey.protocol.secret import Secret
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.storage import accounts

from . import texts
from .errors import SignInRefused
from .login_context import LoginContext
from .password import verify_password
from .security_mail import new_browser_mail_statements
from .sessions import has_signed_in_from, start_password_session


def sign_in(email: str, password: str, login_context: LoginContext, runtime: Runtime, now: float) -> Secret:
    """Verify a user's password, start a session and return the session's secret.

    :raises SignInRefused: if the e-mail address is unknown, the account is disabled or the password is wrong, with the
        same message for all three, unless the address has a character that no account's address has; or if there were
        too many attempts or sign-ins.
    """
    email = normalize_email_address(email)
    account = accounts.find_by_email(runtime.store, email)
    browser_was_used = account is not None and has_signed_in_from(account.sub, login_context, runtime.store)
    sub = account.sub if account else None
    charged = _charge_password_attempt(email, sub, login_context, runtime, now, browser_was_used=browser_was_used)
    is_correct = verify_password(password, account.password_hash if account else None)
    if not is_correct or account is None or account.disabled_at is not None:
        runtime.failures.record("sign_in.failed", now, network=caller_network(login_context.address), owner=sub)
        non_ascii = _describe_non_ascii(email) if account is None else None
        raise SignInRefused(non_ascii or texts.WRONG_EMAIL_OR_PASSWORD)
    for setting, *caller in charged:
        runtime.limits.refund(setting, *caller)
    charge_attempt(
        ("completed_sign_in_limit", account.sub), caller_network(login_context.address), runtime, now, owner=account.sub
    )
    # There is no mail about the first sign-in to an account that the operator has created.
    is_new_browser = account.signed_in_at is not None and not browser_was_used
    mail = new_browser_mail_statements(account.sub, login_context, runtime, now) if is_new_browser else ()
    return start_password_session(account, login_context, runtime, now, mail)


def require_email_address(text: str) -> str:
    """Return an e-mail address in the spelling under which it is stored, limited, verified and sent to.

    :raises SignInRefused: if the text is not exactly one e-mail address that mail can be sent to. The message names the
        first character outside ASCII.
    """
    email = normalize_email_address(text)
    if not is_email_address(email):
        raise SignInRefused(_describe_non_ascii(email) or texts.INVALID_EMAIL)
    return email


def _describe_non_ascii(email: str) -> str | None:
    """Return a sentence that names the first character of an address outside ASCII; ``None`` if there is none."""
    character = next((character for character in email if not character.isascii()), None)
    return character and texts.NON_ASCII_EMAIL.format(character=describe_character(character))


def _charge_password_attempt(
    email: str, sub: str | None, login_context: LoginContext, runtime: Runtime, now: float, *, browser_was_used: bool
) -> list[tuple[str, ...]]:
    """Charge a sign-in attempt to its rate limits, before the password is verified.

    Return what was charged, as ``charge_attempt`` takes it, so that it can be refunded if the password is correct.

    A browser that has signed in to the account before has its own limit, so that attempts by others, from many
    addresses or from the owner's own network, cannot lock the owner out.

    :param sub: the account's ``sub``; ``None`` if there is no account with this e-mail address.
    :raises SignInRefused: if there were too many attempts.
    """
    network, browser = caller_network(login_context.address), login_context.browser.digest()
    if browser_was_used:
        charges: list[tuple[str, ...]] = [("sign_in_limit", "browser", browser.hex(), sub or "")]
    else:
        typed = digest_email_address(email)
        charges = [
            ("sign_in_address_limit", network),
            ("sign_in_limit", "pair", network, typed),
            ("sign_in_account_limit", typed),
        ]
    for charge in charges:
        charge_attempt(charge, network, runtime, now, owner=sub)
    return charges


def charge_attempt(
    charge: tuple[str, ...], network: str, runtime: Runtime, now: float, *, owner: str | None = None
) -> None:
    """Count one attempt (a sign-in, a sign-up or a request for a mail link) against a rate limit.

    :param charge: name of the setting with the limit, then the parts of what is counted, such as the network.
    :param network: the caller's network, for the audit log.
    :param owner: the account's ``sub``, for the audit log; ``None`` if there is no account.
    :raises SignInRefused: if there were too many attempts; the message says how many minutes to wait.
    """
    try:
        runtime.limits.charge(*charge, now=now)
    except TooManyRequests as refusal:
        runtime.failures.record("limit.reached", now, network=network, owner=owner, detail=refusal.limit)
        message = f"{texts.TOO_MANY_ATTEMPTS} {describe_wait(refusal.retry_after)}".rstrip()
        raise SignInRefused(message, refusal.retry_after) from refusal
