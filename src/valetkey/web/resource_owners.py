"""Who the resource owner is on this request: our own accounts, or the host's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from flask import has_request_context, redirect, request, url_for
from werkzeug.wrappers import Response

from valetkey.protocol.claims import claims_of_scope
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.resource_owner import PASSWORD_ACR, Owner
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.accounts import Account, Session

from . import cookies
from .context import current_runtime, request_state


def current_owner() -> Owner | None:
    """Who is signed in on this request, asked once."""
    kept = request_state()
    if "owner" not in kept:
        kept["owner"] = current_runtime().owners.current()
    owner: Owner | None = kept["owner"]
    return owner


def current_full_path() -> str:
    """The path of this page, query included, for coming back to it."""
    query = request.query_string.decode("latin-1")
    return request.script_root + request.path + (f"?{query}" if query else "")


def redirect_to_sign_in(
    next_path: str | None = None, *, fresh: bool = False, acr_values: tuple[str, ...] = ()
) -> Response:
    """Off to sign in, and back to ``then`` or to this page.

    :raises InvalidRequest: where the host did not say where its sign-in page is.
    """
    try:
        url = current_runtime().owners.sign_in_url(next_path or current_full_path(), fresh=fresh, acr_values=acr_values)
    except LookupError as cause:
        raise InvalidRequest("Sign in to the site first, then open this page again.") from cause
    return redirect(url, 303)


class BuiltInAccounts:
    """Valetkey's own accounts as resource owners; ``find`` and ``claims`` need no Flask around them."""

    runtime: Runtime  # whose accounts these are: told when it is made

    def current(self) -> Owner | None:
        return self.find_by_session(cookies.session_secret(self.runtime))

    def find_by_session(self, secret: Secret | None) -> Owner | None:
        """Whose sign-in this is; None where it is over."""
        runtime = self.runtime
        found = accounts.find_active_session(runtime.store, secret.digest(), runtime.clock()) if secret else None
        return _owner_of_account(found[1], found[0]) if found else None

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        return url_for("valetkey_resource_owner.sign_in", next=next)

    def find(self, sub: str) -> Owner | None:
        account = self._find_account(sub)
        return None if account is None or account.disabled_at is not None else _owner_of_account(account)

    def claims(self, sub: str, scope: frozenset[str]) -> Mapping[str, Any]:
        account = self._find_account(sub)
        if account is None:
            return {}
        known = {**_default_claims(account), **account.claim_values}
        if account.email_verified_at is not None:
            known["email_verified"] = True
        if "phone_number" in known:
            known.setdefault("phone_number_verified", False)
        return {claim: known[claim] for claim in sorted(claims_of_scope(scope)) if claim in known}

    def sign_out(self) -> None:
        cookies.end_session()

    def _find_account(self, sub: str) -> Account | None:
        """Read once for each request: who asks for a person's claims often asks for the person first."""
        kept = request_state() if has_request_context() else {}
        known: Account | None = kept.get("account")
        if known is None or known.sub != sub:
            known = kept["account"] = accounts.find(self.runtime.store, sub)
        return known


class CallableResourceOwners:
    """A host's function that answers the ``sub`` of whoever is signed in, or None."""

    def __init__(self, function: Callable[[], str | None], sign_in_url: str | None) -> None:
        self._function = function
        self._sign_in_url = sign_in_url

    def current(self) -> Owner | None:
        sub = self._function()
        return None if sub is None or sub == "" else Owner(str(sub))

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        if self._sign_in_url is None:
            raise LookupError("set sign_in_url to the host's sign-in page")
        joint = "&" if "?" in self._sign_in_url else "?"
        return f"{self._sign_in_url}{joint}next={quote(next, safe='')}"

    def find(self, sub: str) -> Owner | None:
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> Mapping[str, Any]:
        return {}


def _default_claims(account: Account) -> Mapping[str, Any]:
    """What is known without a word about claims."""
    changed = max(account.created_at, account.email_verified_at or 0)
    return {"name": account.name, "email": account.email, "email_verified": False, "updated_at": int(changed)}


def _owner_of_account(account: Account, session: Session | None = None) -> Owner:
    return Owner(
        account.sub,
        session.auth_time if session else None,
        acr=PASSWORD_ACR if session else None,
        amr=("pwd",) if session else (),
        name=account.name,
        email=account.email,
        sid=session.sid if session else None,
    )
