"""Personal access tokens: a person makes them for programs of their own, and takes them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from valetkey.activity.audit import Event, audit
from valetkey.authorization_server.owner_mail import mail_rows
from valetkey.authorization_server.token.scope_and_resource import fit_scope
from valetkey.protocol.errors import AccessDenied, InvalidRequest, InvalidScope
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import format_scope
from valetkey.protocol.secret import PERSONAL_ACCESS_TOKEN, Secret, mint, random_id
from valetkey.runtime import Runtime
from valetkey.storage import personal_tokens, revocations
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.statement import Bound
from valetkey.storage.engine.transaction import Write
from valetkey.storage.personal_tokens import PersonalToken

FRESH = 3600  # seconds that may have passed since the sign-in of whoever makes one
MOST = 100  # living tokens of one person
_DAY = 86400.0
_PREFIX = 11  # characters that are shown again: vk_pat_ and four letters of 44


@dataclass(frozen=True, slots=True)
class Wish:
    """What a token is to be; ``expires_at`` in seconds since 1970.

    :param token_id: of the form that it was wished for on, so that the form makes one token however often it comes.
    :param grant_id: of the app that makes it, with which it ends.
    """

    name: str
    scope: frozenset[str]
    expires_at: float
    token_id: str | None = None
    grant_id: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A new token; the secret is told once and kept only as a digest."""

    token: PersonalToken
    secret: Secret


def possible_scopes(runtime: Runtime) -> frozenset[str]:
    """What a token may carry: what the setting allows and the API knows."""
    return fit_scope(runtime.settings.personal_scopes, (runtime.settings.api_resource,), runtime)


def make_personal_token(
    wish: Wish, owner: Owner, runtime: Runtime, now: float, address: str | None, *, by: str | None = None
) -> Made:
    """A token of the owner's for the API.

    :param by: the client_id of the app that makes it, for the audit log.
    :raises InvalidRequest: where the name, the end or the number of tokens is not allowed, or the form came twice.
    :raises InvalidScope: where a scope is not allowed, or none is named.
    :raises AccessDenied: where the owner is gone or disabled.
    """
    _check_name(wish)
    _check_scope(wish, runtime)
    _check_end(wish, runtime, now)
    _check_owner(owner, runtime)
    _check_number(owner, runtime, now)
    secret = mint(PERSONAL_ACCESS_TOKEN)
    token = PersonalToken(
        token_id=wish.token_id or random_id(),
        digest=secret.digest(),
        owner=owner.sub,
        name=wish.name.strip(),
        prefix=secret.reveal()[:_PREFIX],
        scope=format_scope(wish.scope),
        resources=to_json([runtime.settings.api_resource]),
        created_at=now,
        expires_at=wish.expires_at,
        grant_id=wish.grant_id,
        reminded=_needs_no_reminder(wish.expires_at - now),
    )
    told = audit("personal_token.created", now, client_id=by, owner=owner.sub, address=address, detail=token.token_id)
    if not runtime.write(Write(personal_tokens.add(token), (told, *_creation_mail(token, runtime, now)))):
        raise InvalidRequest("This token was made already; make another one if it was not copied.")
    return Made(token, secret)


def revoke_personal_token(
    token: PersonalToken,
    runtime: Runtime,
    now: float,
    address: str | None,
    *,
    event: Event = "personal_token.revoked",
) -> bool:
    """End a token within a second everywhere; False where it was ended before."""
    won = runtime.write(
        Write(personal_tokens.revoke(token.token_id, token.owner, now), end_rows(token, runtime, now, address, event))
    )
    runtime.feed.expire()
    return won


def end_rows(
    token: PersonalToken, runtime: Runtime, now: float, address: str | None, event: Event
) -> tuple[Bound, ...]:
    """What goes with the end of a token: the feed's entry and the audit log's."""
    return (
        revocations.add("token", token.token_id, now, runtime.revocation_ends),
        audit(event, now, owner=token.owner, address=address, detail=token.token_id),
    )


def find_own(token_id: str, owner: str, runtime: Runtime) -> PersonalToken | None:
    """A person's own token; another's is none."""
    token = personal_tokens.find(runtime.store, token_id)
    return token if token is not None and token.owner == owner else None


def state(token: PersonalToken, now: float) -> Literal["active", "expired", "revoked"]:
    if token.revoked_at is not None:
        return "revoked"
    return "active" if token.expires_at > now else "expired"


def _check_name(wish: Wish) -> None:
    name = wish.name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise InvalidRequest("A name of 1 to 100 characters is needed.")


def _check_scope(wish: Wish, runtime: Runtime) -> None:
    possible = possible_scopes(runtime)
    if not wish.scope <= possible:
        raise InvalidScope(
            "A personal access token cannot have this scope.", detail=format_scope(wish.scope - possible)
        )
    if possible and not wish.scope:
        raise InvalidScope("Choose at least one thing that the token may do.")


def _check_end(wish: Wish, runtime: Runtime, now: float) -> None:
    most = runtime.settings.personal_access_token_lifetime
    if wish.expires_at <= now:
        raise InvalidRequest("The token must expire in the future.")
    if wish.expires_at > now + most:
        raise InvalidRequest(f"The token must expire within {most // 86400} days.")


def _check_owner(owner: Owner, runtime: Runtime) -> None:
    if runtime.owners.find(owner.sub) is None:
        raise AccessDenied("This account cannot be used.", detail="the owner is gone or disabled")


def _check_number(owner: Owner, runtime: Runtime, now: float) -> None:
    living = [one for one in personal_tokens.of_owner(runtime.store, owner.sub) if state(one, now) == "active"]
    if len(living) >= MOST:
        raise InvalidRequest(f"There are {MOST} tokens already; revoke one that is not used.")


def _needs_no_reminder(lives: float) -> int | None:
    """Whoever makes a token for a week needs not hear at once that it ends in a week."""
    if lives <= 2 * _DAY:
        return 1
    return 7 if lives <= 8 * _DAY else None


def _creation_mail(token: PersonalToken, runtime: Runtime, now: float) -> tuple[Bound, ...]:
    text = f'A personal access token named "{token.name}" was made for your account at {runtime.settings.name}.\n\n'
    text += f"If that was not you, revoke it: {tokens_url(runtime)}\n"
    return mail_rows(token.owner, "A personal access token was made", text, runtime, now)


def tokens_url(runtime: Runtime) -> str:
    """Where people see their tokens."""
    return f"{runtime.settings.issuer}{runtime.settings.tokens_path or ''}"
