"""The resource owner (signed-in user) of the current request: from Valetkey's own accounts, or from the host app."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote
from uuid import UUID

from flask import has_request_context, request, url_for
from werkzeug.utils import redirect
from werkzeug.wrappers import Response

from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.resource_owner import PASSWORD_ACR, Owner
from valetkey.protocol.secret import Secret
from valetkey.protocol.uri import add_query
from valetkey.runtime import Runtime
from valetkey.storage import accounts, sessions
from valetkey.storage.accounts import Account
from valetkey.storage.sessions import Session

from . import cookies
from .context import current_runtime, request_state
from .texts import NO_SIGN_IN_PAGE


def current_owner() -> Owner | None:
    """Return the resource owner who is signed in on the current request, or None if no user is signed in.

    The owner is looked up once per request.
    """
    state = request_state()
    if "owner" not in state:
        state["owner"] = current_runtime().owners.current()
    owner: Owner | None = state["owner"]
    return owner


def current_full_path() -> str:
    """Return the path of the current request with its query string, for example to return to it after the sign-in."""
    query = request.query_string.decode("latin-1")
    return request.script_root + request.path + (f"?{query}" if query else "")


class NoSignInPage(InvalidRequest):
    """The user must sign in, but the host app has no sign-in page. The message is for the user."""


def redirect_to_sign_in(
    next_path: str | None = None, *, fresh: bool = False, acr_values: tuple[str, ...] = ()
) -> Response:
    """Return a redirect to the sign-in page.

    :param next_path: path to return to after the sign-in; None for the path of the current request.
    :param fresh: true if a user is signed in, but must authenticate again.
    :param acr_values: requested authentication context classes, in order of preference.
    :raises NoSignInPage: if the host app has no sign-in page.
    """
    try:
        url = current_runtime().owners.sign_in_url(next_path or current_full_path(), fresh=fresh, acr_values=acr_values)
    except LookupError as cause:
        raise NoSignInPage(NO_SIGN_IN_PAGE) from cause
    return redirect(url, 303)


class BuiltInAccounts:
    """Implementation of ``ResourceOwners`` for Valetkey's own accounts.

    ``find`` and ``claims`` can be called without a request.
    """

    runtime: Runtime  # set by ``make_runtime``

    def current(self) -> Owner | None:
        return self.find_by_session(cookies.session_secret(self.runtime.settings))

    def find_by_session(self, secret: Secret | None) -> Owner | None:
        """Return the owner of a sign-in session; None if there is no session, it has ended, or the account is disabled.

        :param secret: the secret in the sign-in cookie; None if there is no cookie.
        """
        runtime = self.runtime
        active = sessions.find_active(runtime.store, secret.digest(), runtime.clock()) if secret else None
        return _owner_of_account(active[1], active[0]) if active else None

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        return url_for("valetkey_resource_owner.sign_in", next=next)

    def find(self, sub: str) -> Owner | None:
        account = self._find_account(sub)
        return None if account is None or account.disabled_at is not None else _owner_of_account(account)

    def claims(self, sub: str, scope: frozenset[str]) -> Mapping[str, Any]:
        account = self._find_account(sub)
        if account is None:
            return {}
        values = {**_default_claims(account), **account.claim_values}
        if "phone_number" in values:
            values.setdefault("phone_number_verified", False)
        return {claim: values[claim] for claim in sorted(self.runtime.settings.claims_of(scope)) if claim in values}

    def sign_out(self) -> None:
        cookies.end_session()

    def _find_account(self, sub: str) -> Account | None:
        """Return the account with this ``sub``, disabled or not, or None if there is none.

        The account is cached during the request, because ``claims`` is often called after ``find``.
        """
        state = request_state() if has_request_context() else {}
        account: Account | None = state.get("account")
        if account is None or account.sub != sub:
            account = state["account"] = accounts.find(self.runtime.store, sub)
        return account


def other_account_url(next_path: str) -> str | None:
    """Return the URL to sign in with another account and then continue at a path.

    Return ``None`` if the accounts are those of the host app.
    """
    has_built_in_accounts = isinstance(current_runtime().owners, BuiltInAccounts)
    return url_for("valetkey_resource_owner.sign_in", next=next_path) if has_built_in_accounts else None


class CallableResourceOwners:
    """Implementation of ``ResourceOwners`` for a host app that passes only a function as ``resource_owner``.

    :param function: returns the ``sub`` of the user who is signed in on the current request, or None.
    :param sign_in_url: the host's sign-in page; the path to return to is added as the parameter ``next``. None if
        the host has no sign-in page.
    """

    def __init__(self, function: Callable[[], str | None], sign_in_url: str | None) -> None:
        self._function = function
        self._sign_in_url = sign_in_url

    def current(self) -> Owner | None:
        sub: object = self._function()
        if sub is None or sub is False or sub == "":  # False: `user.is_active and user.id`
            return None
        if sub is True or not isinstance(sub, str | int | UUID):
            raise TypeError(
                "resource_owner must return the user id as text, a whole number or a UUID, for example "
                f"current_user.get_id(), or None if no user is signed in, not {type(sub).__name__}"
            )
        return Owner(str(sub))

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        if self._sign_in_url is None:
            raise LookupError("the app has no sign-in page; set sign_in_url to its URL")
        return add_query(self._sign_in_url, f"next={quote(next, safe='')}")

    def find(self, sub: str) -> Owner | None:
        """Return an owner for any ``sub``, never None: the host's function cannot look up users by ``sub``."""
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> Mapping[str, Any]:
        return {}


def _default_claims(account: Account) -> Mapping[str, Any]:
    """Return the claims of every account: name, updated_at and, if it has an address, email and email_verified.

    Claims that are stored with the account (``claim_values``) override name and updated_at.
    """
    updated_at = int(max(account.created_at, account.email_verified_at or 0))
    is_verified = account.email_verified_at is not None
    email = {} if account.email is None else {"email": account.email, "email_verified": is_verified}
    return {"name": account.name, **email, "updated_at": updated_at}


def _owner_of_account(account: Account, session: Session | None = None) -> Owner:
    """Return an account as an ``Owner``.

    :param session: the sign-in session that sets auth_time, acr, amr, sid and session_began_at; None leaves them empty.
    """
    owner = Owner(account.sub, name=account.name, email=account.email or "")
    if session is None:
        return owner
    has_password = session.issuer is None  # else a provider has authenticated the user
    return replace(
        owner,
        auth_time=session.auth_time,
        acr=PASSWORD_ACR if has_password else session.acr,
        amr=("pwd",) if has_password else tuple(json.loads(session.amr or "[]")),
        sid=session.sid,
        session_began_at=session.began_at,
    )
