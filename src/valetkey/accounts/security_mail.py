"""Mail that tells users about a new password, and about a sign-in from a browser that was not used before.

Each mail is queued in the transaction of the change that it reports. Without a mail server (``mail_url``) there is no
mail.
"""

from __future__ import annotations

from datetime import UTC, datetime

from valetkey.authorization_server.owner_mail import owner_mail_statements
from valetkey.rate_limiting.address import caller_network
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage.engine.statement import BoundStatement

from . import texts
from .browser_name import describe_browser
from .login_context import LoginContext


def password_mail_statements(
    sub: str, login_context: LoginContext | None, runtime: Runtime, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statement, not yet executed, that queues the mail about a new password; none without mail.

    :param login_context: where the password was set; ``None`` if the operator has set it.
    """
    text = texts.PASSWORD_CHANGED.format(
        site=runtime.settings.name,
        origin=_describe_origin(login_context, now),
        access_url=_account_url(runtime.settings, "access"),
        reset_url=_account_url(runtime.settings, "forgotten"),
    )
    return _mail_statements("password", sub, texts.PASSWORD_CHANGED_SUBJECT, text, login_context, runtime, now)


def new_browser_mail_statements(
    sub: str, login_context: LoginContext, runtime: Runtime, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statement, not yet executed, that queues the mail about a sign-in; none without mail."""
    text = texts.NEW_BROWSER.format(
        site=runtime.settings.name,
        origin=_describe_origin(login_context, now),
        reset_url=_account_url(runtime.settings, "forgotten"),
    )
    return _mail_statements("sign-in", sub, texts.NEW_BROWSER_SUBJECT, text, login_context, runtime, now)


def provider_mail_statements(
    sub: str, provider_name: str, login_context: LoginContext, runtime: Runtime, now: float
) -> tuple[BoundStatement, ...]:
    """Return the SQL statement, not yet executed, that queues the mail about a new provider; none without mail.

    :param provider_name: name of the provider with which the user can sign in from now on, such as ``Google``.
    """
    text = texts.PROVIDER_CONNECTED.format(
        provider=provider_name,
        site=runtime.settings.name,
        origin=_describe_origin(login_context, now),
        reset_url=_account_url(runtime.settings, "forgotten"),
    )
    subject = texts.PROVIDER_CONNECTED_SUBJECT.format(provider=provider_name)
    return _mail_statements("provider", sub, subject, text, login_context, runtime, now)


def _mail_statements(
    kind: str,
    sub: str,
    subject: str,
    text: str,
    login_context: LoginContext | None,
    runtime: Runtime,
    now: float,
) -> tuple[BoundStatement, ...]:
    """Return the SQL statement that queues a mail, unless the account got too many of this kind (``mail_limit``).

    Each kind has a counter of its own, separate from that of links, which any caller can use up by requesting links.
    """
    if not runtime.settings.mail_url:
        return ()
    if not runtime.limits.admits("mail_limit", "notice", kind, sub, now=now):
        network = caller_network(login_context.address if login_context else None)
        runtime.failures.record("limit.reached", now, network=network, owner=sub, detail="mail_limit")
        return ()
    return owner_mail_statements(sub, subject, text, runtime.settings, now)


def _describe_origin(login_context: LoginContext | None, now: float) -> str:
    """Return lines with time, network and browser. No text of the caller is in them."""
    time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if login_context is None:
        return texts.ORIGIN_OPERATOR.format(time=time)
    network, browser = caller_network(login_context.address), describe_browser(login_context.user_agent)
    return texts.ORIGIN.format(time=time, network=network, browser=browser)


def _account_url(settings: Settings, page: str) -> str:
    return f"{settings.issuer}{settings.account_pages_path}/{page}"
