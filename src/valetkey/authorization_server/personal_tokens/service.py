"""Personal access tokens: a person makes them for programs of their own, and takes them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from valetkey.activity.audit import AuditEvent, audit_statement
from valetkey.authorization_server.owner_mail import owner_mail_statements
from valetkey.authorization_server.token.scope_and_resource import limit_scope_to_resources
from valetkey.protocol.errors import AccessDenied, InvalidRequest, InvalidScope
from valetkey.protocol.resource_owner import Owner
from valetkey.protocol.scope import format_scope
from valetkey.protocol.secret import PERSONAL_ACCESS_TOKEN, Secret, generate_secret, random_id
from valetkey.runtime import Runtime
from valetkey.storage import change_feed, personal_access_tokens
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.transaction import Transaction
from valetkey.storage.personal_access_tokens import PersonalToken

MAX_AUTH_AGE_S = 3600  # seconds that may have passed since the sign-in of whoever makes one
MAX_ACTIVE_TOKENS = 100  # living tokens of one person
_DAY_S = 86400.0
_PREFIX_LENGTH = 11  # characters that are shown again: vk_pat_ and four letters of 44


@dataclass(frozen=True, slots=True)
class TokenSpec:
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
class CreatedToken:
    """A new token; the secret is told once and kept only as a digest."""

    token: PersonalToken
    secret: Secret


def allowed_scopes(runtime: Runtime) -> frozenset[str]:
    """What a token may carry: what the setting allows and the API knows."""
    return limit_scope_to_resources(runtime.settings.personal_scopes, (runtime.settings.api_resource,), runtime)


def create_personal_token(
    spec: TokenSpec, owner: Owner, runtime: Runtime, now: float, address: str | None, *, client_id: str | None = None
) -> CreatedToken:
    """A token of the owner's for the API.

    :param by: the client_id of the app that makes it, for the audit log.
    :raises InvalidRequest: where the name, the end or the number of tokens is not allowed, or the form came twice.
    :raises InvalidScope: where a scope is not allowed, or none is named.
    :raises AccessDenied: where the owner is gone or disabled.
    """
    _check_name(spec)
    _check_scope(spec, runtime)
    _check_expiry(spec, runtime, now)
    _check_owner(owner, runtime)
    _check_token_count(owner, runtime, now)
    secret = generate_secret(PERSONAL_ACCESS_TOKEN)
    token = PersonalToken(
        token_id=spec.token_id or random_id(),
        digest=secret.digest(),
        owner=owner.sub,
        name=spec.name.strip(),
        prefix=secret.reveal()[:_PREFIX_LENGTH],
        scope=format_scope(spec.scope),
        resources=to_json([runtime.settings.api_resource]),
        created_at=now,
        expires_at=spec.expires_at,
        grant_id=spec.grant_id,
        reminded=_initial_reminded_days(spec.expires_at - now),
    )
    told = audit_statement(
        "personal_token.created", now, client_id=client_id, owner=owner.sub, address=address, detail=token.token_id
    )
    if not runtime.write(
        Transaction(personal_access_tokens.add(token), (told, *_creation_mail_statements(token, runtime, now)))
    ):
        raise InvalidRequest("This token was made already; make another one if it was not copied.")
    return CreatedToken(token, secret)


def revoke_personal_token(
    token: PersonalToken,
    runtime: Runtime,
    now: float,
    address: str | None,
    *,
    event: AuditEvent = "personal_token.revoked",
) -> bool:
    """End a token within a second everywhere; False where it was ended before."""
    won = runtime.write(
        Transaction(
            personal_access_tokens.revoke(token.token_id, token.owner, now),
            revocation_statements(token, runtime, now, address, event),
        )
    )
    runtime.feed.invalidate()
    return won


def revocation_statements(
    token: PersonalToken, runtime: Runtime, now: float, address: str | None, event: AuditEvent
) -> tuple[BoundStatement, ...]:
    """What goes with the end of a token: the feed's entry and the audit log's."""
    return (
        change_feed.add("token", token.token_id, now, runtime.revocation_expiry),
        audit_statement(event, now, owner=token.owner, address=address, detail=token.token_id),
    )


def find_owned_token(token_id: str, owner: str, runtime: Runtime) -> PersonalToken | None:
    """A person's own token; another's is none."""
    token = personal_access_tokens.find(runtime.store, token_id)
    return token if token is not None and token.owner == owner else None


def token_state(token: PersonalToken, now: float) -> Literal["active", "expired", "revoked"]:
    if token.revoked_at is not None:
        return "revoked"
    return "active" if token.expires_at > now else "expired"


def _check_name(spec: TokenSpec) -> None:
    name = spec.name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise InvalidRequest("A name of 1 to 100 characters is needed.")


def _check_scope(spec: TokenSpec, runtime: Runtime) -> None:
    possible = allowed_scopes(runtime)
    if not spec.scope <= possible:
        raise InvalidScope(
            "A personal access token cannot have this scope.", log_detail=format_scope(spec.scope - possible)
        )
    if possible and not spec.scope:
        raise InvalidScope("Choose at least one thing that the token may do.")


def _check_expiry(spec: TokenSpec, runtime: Runtime, now: float) -> None:
    most = runtime.settings.personal_access_token_lifetime
    if spec.expires_at <= now:
        raise InvalidRequest("The token must expire in the future.")
    if spec.expires_at > now + most:
        raise InvalidRequest(f"The token must expire within {most // 86400} days.")


def _check_owner(owner: Owner, runtime: Runtime) -> None:
    if runtime.owners.find(owner.sub) is None:
        raise AccessDenied("This account cannot be used.", log_detail="the owner is gone or disabled")


def _check_token_count(owner: Owner, runtime: Runtime, now: float) -> None:
    living = [
        one
        for one in personal_access_tokens.list_by_owner(runtime.store, owner.sub)
        if token_state(one, now) == "active"
    ]
    if len(living) >= MAX_ACTIVE_TOKENS:
        raise InvalidRequest(f"There are {MAX_ACTIVE_TOKENS} tokens already; revoke one that is not used.")


def _initial_reminded_days(lifetime_s: float) -> int | None:
    """Whoever makes a token for a week needs not hear at once that it ends in a week."""
    if lifetime_s <= 2 * _DAY_S:
        return 1
    return 7 if lifetime_s <= 8 * _DAY_S else None


def _creation_mail_statements(token: PersonalToken, runtime: Runtime, now: float) -> tuple[BoundStatement, ...]:
    text = f'A personal access token named "{token.name}" was made for your account at {runtime.settings.name}.\n\n'
    text += f"If that was not you, revoke it: {tokens_url(runtime)}\n"
    return owner_mail_statements(token.owner, "A personal access token was made", text, runtime, now)


def tokens_url(runtime: Runtime) -> str:
    """Where people see their tokens."""
    return f"{runtime.settings.issuer}{runtime.settings.tokens_path or ''}"
