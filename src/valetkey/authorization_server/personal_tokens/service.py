"""Personal access tokens, which users create for their own programs: create, find, revoke."""

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

MAX_AUTH_AGE_S = 3600  # to create a token, a user must have signed in within this time
MAX_ACTIVE_TOKENS = 100  # per owner
_DAY_S = 86400.0
_PREFIX_LENGTH = 11  # the part of the value that is stored and shown in lists: vk_pat_ and 4 of 44 random characters


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """Properties of a personal access token to create.

    :param expires_at: when the token expires, in seconds since 1970.
    :param token_id: generated if ``None``. The form on the page contains one, so that submitting it twice creates only
        one token.
    :param grant_id: the grant of the client that creates the token, which is revoked together with this grant; ``None``
        if the user creates it on the page.
    """

    name: str
    scope: frozenset[str]
    expires_at: float
    token_id: str | None = None
    grant_id: str | None = None


@dataclass(frozen=True, slots=True)
class CreatedToken:
    """A new personal access token and its value, which is shown once because only its digest is stored."""

    token: PersonalToken
    secret: Secret


def allowed_scopes(runtime: Runtime) -> frozenset[str]:
    """Return the scopes that a personal access token may have.

    They are the scopes in ``Settings.personal_scopes`` that the API (``Settings.api_resource``) supports.
    """
    return limit_scope_to_resources(runtime.settings.personal_scopes, (runtime.settings.api_resource,), runtime)


def create_personal_token(
    spec: TokenSpec, owner: Owner, runtime: Runtime, now: float, address: str | None, *, client_id: str | None = None
) -> CreatedToken:
    """Create a personal access token for the API, and return it with its value.

    :param address: the IP address of the request, for the audit log.
    :param client_id: the client that creates the token, for the audit log; ``None`` if the user creates it on the
        page.
    :raises InvalidRequest: if the name or the expiry is not allowed, the owner has too many tokens, or a token with
        ``spec.token_id`` exists because the form was submitted twice.
    :raises InvalidScope: if a scope is not allowed, or none was chosen.
    :raises AccessDenied: if the owner does not exist or is disabled.
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
    event = audit_statement(
        "personal_token.created", now, client_id=client_id, owner=owner.sub, address=address, detail=token.token_id
    )
    if not runtime.write(
        Transaction(personal_access_tokens.add(token), (event, *_creation_mail_statements(token, runtime, now)))
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
    """Revoke a personal access token; every process rejects it within a second.

    Return ``True``, or ``False`` if the token was revoked before.

    :param address: the IP address of the request, for the audit log.
    :param event: the audit event, which says why the token is revoked.
    """
    is_first = runtime.write(
        Transaction(
            personal_access_tokens.revoke(token.token_id, token.owner, now),
            revocation_statements(token, runtime, now, address, event),
        )
    )
    runtime.feed.invalidate()
    return is_first


def revocation_statements(
    token: PersonalToken, runtime: Runtime, now: float, address: str | None, event: AuditEvent
) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, that announce and log the revocation of a personal access token.

    They announce it in the change feed, a table that every process polls, and write it to the audit log. They do not
    revoke the token.
    """
    return (
        change_feed.add("token", token.token_id, now, runtime.revocation_expiry),
        audit_statement(event, now, owner=token.owner, address=address, detail=token.token_id),
    )


def find_owned_token(token_id: str, owner: str, runtime: Runtime) -> PersonalToken | None:
    """Return the personal access token with this id, or ``None`` if there is none or it belongs to another owner."""
    token = personal_access_tokens.find(runtime.store, token_id)
    return token if token is not None and token.owner == owner else None


def token_state(token: PersonalToken, now: float) -> Literal["active", "expired", "revoked"]:
    """Return the state of a personal access token; a revoked token stays ``revoked`` after its expiry."""
    if token.revoked_at is not None:
        return "revoked"
    return "active" if token.expires_at > now else "expired"


def _check_name(spec: TokenSpec) -> None:
    name = spec.name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise InvalidRequest("A name of 1 to 100 characters is needed.")


def _check_scope(spec: TokenSpec, runtime: Runtime) -> None:
    allowed = allowed_scopes(runtime)
    if not spec.scope <= allowed:
        raise InvalidScope(
            "A personal access token cannot have this scope.", log_detail=format_scope(spec.scope - allowed)
        )
    if allowed and not spec.scope:
        raise InvalidScope("Choose at least one thing that the token may do.")


def _check_expiry(spec: TokenSpec, runtime: Runtime, now: float) -> None:
    max_lifetime_s = runtime.settings.personal_access_token_lifetime
    if spec.expires_at <= now:
        raise InvalidRequest("The token must expire in the future.")
    if spec.expires_at > now + max_lifetime_s:
        raise InvalidRequest(f"The token must expire within {max_lifetime_s // 86400} days.")


def _check_owner(owner: Owner, runtime: Runtime) -> None:
    if runtime.owners.find(owner.sub) is None:
        raise AccessDenied("This account cannot be used.", log_detail="the owner was removed or disabled")


def _check_token_count(owner: Owner, runtime: Runtime, now: float) -> None:
    tokens = personal_access_tokens.list_by_owner(runtime.store, owner.sub)
    active = [token for token in tokens if token_state(token, now) == "active"]
    if len(active) >= MAX_ACTIVE_TOKENS:
        raise InvalidRequest(f"There are {MAX_ACTIVE_TOKENS} tokens already; revoke one that is not used.")


def _initial_reminded_days(lifetime_s: float) -> int | None:
    """Return the initial ``reminded`` value of a token, so that no reminder mail is sent soon after its creation.

    A token that is valid for at most 2 days gets no reminder (1). One that is valid for at most 8 days gets only the
    reminder one day before expiry (7). Others get both reminders (``None``).
    """
    if lifetime_s <= 2 * _DAY_S:
        return 1
    return 7 if lifetime_s <= 8 * _DAY_S else None


def _creation_mail_statements(token: PersonalToken, runtime: Runtime, now: float) -> tuple[BoundStatement, ...]:
    text = f'A personal access token named "{token.name}" was made for your account at {runtime.settings.name}.\n\n'
    text += f"If that was not you, revoke it: {tokens_url(runtime)}\n"
    return owner_mail_statements(token.owner, "A personal access token was made", text, runtime, now)


def tokens_url(runtime: Runtime) -> str:
    """Return the URL of the page on which users manage their personal access tokens."""
    return f"{runtime.settings.issuer}{runtime.settings.tokens_path or ''}"
