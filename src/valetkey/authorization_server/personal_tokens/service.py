"""Personal access tokens, which users create for their own programs: create, find, revoke."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from valetkey.activity.audit import AuditEvent, audit_statement
from valetkey.authorization_server import texts
from valetkey.authorization_server.owner_mail import owner_mail_statements
from valetkey.authorization_server.token.scope_and_resource import scope_of_any_resource
from valetkey.protocol.access_token import PERSONAL_TOKEN_CLIENT_ID
from valetkey.protocol.display_name import display_name_problem, normalize_display_name
from valetkey.protocol.errors import AccessDenied, InvalidRequest, InvalidScope
from valetkey.protocol.resource_owner import Owner, ResourceOwners
from valetkey.protocol.scope import format_scope
from valetkey.protocol.secret import PERSONAL_ACCESS_TOKEN, Secret, derive_id, generate_secret, random_id
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import change_feed, personal_access_tokens
from valetkey.storage.engine.records import to_json
from valetkey.storage.engine.statement import BoundStatement
from valetkey.storage.engine.store import Store
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
    :param submission: random text in the form on the page, so that submitting it twice creates only one token; ``None``
        if each request creates a token. The token's id is derived from it and the owner: an id that a browser chose
        could be that of another user's token.
    :param grant_id: the grant of the client that creates the token, which is revoked together with this grant; ``None``
        if the user creates it on the page.
    """

    name: str
    scope: frozenset[str]
    expires_at: float
    submission: str | None = None
    grant_id: str | None = None


class TokenAlreadyCreated(InvalidRequest):
    """The form for a new token was submitted twice; the first one created the token."""


@dataclass(frozen=True, slots=True)
class CreatedToken:
    """A new personal access token and its value, which is shown once because only its digest is stored."""

    token: PersonalToken
    secret: Secret


def allowed_scopes(runtime: Runtime) -> frozenset[str]:
    """Return the scopes that a personal access token may have.

    They are the scopes in ``Settings.personal_scopes`` that the API (``Settings.api_resource``) supports.
    """
    return scope_of_any_resource(
        runtime.settings.personal_scopes, (runtime.settings.api_resource,), runtime.resources.all()
    )


def create_personal_token(
    spec: TokenSpec, owner: Owner, runtime: Runtime, now: float, address: str | None, *, client_id: str | None = None
) -> CreatedToken:
    """Create a personal access token for the API, and return it with its value.

    :param address: the IP address of the request, for the audit log.
    :param client_id: the client that creates the token, for the audit log; ``None`` if the user creates it on the
        page.
    :raises TokenAlreadyCreated: if a token with this ``submission`` exists, because the form was submitted twice.
    :raises InvalidRequest: if the name or the expiry is not allowed, or the owner has too many tokens.
    :raises InvalidScope: if a scope is not allowed, or none was chosen.
    :raises AccessDenied: if the owner does not exist or is disabled.
    """
    _check_name(spec)
    _check_scope(spec, runtime)
    _check_expiry(spec, runtime.settings, now)
    feed_view = runtime.feed.get_view()  # before the check: the write sees whether the owner was revoked since
    _check_owner(owner, runtime.owners)
    _check_token_count(owner, runtime.store, now)
    secret = generate_secret(PERSONAL_ACCESS_TOKEN)
    token = PersonalToken(
        token_id=_generate_token_id(spec.submission, owner),
        digest=secret.digest(),
        owner=owner.sub,
        name=normalize_display_name(spec.name),
        prefix=secret.reveal()[:_PREFIX_LENGTH],
        scope=format_scope(spec.scope),
        resources=to_json([runtime.settings.api_resource]),
        created_at=now,
        expires_at=spec.expires_at,
        grant_id=spec.grant_id,
        reminded=_initial_reminded_days(spec.expires_at - now),
    )
    seen = feed_view.seen_revocations(PERSONAL_TOKEN_CLIENT_ID, owner.sub)
    event = audit_statement(
        "personal_token.created", now, client_id=client_id, owner=owner.sub, address=address, detail=token.token_id
    )
    if not runtime.store.write(
        Transaction(
            personal_access_tokens.add(token, seen), (event, *_creation_mail_statements(token, runtime.settings, now))
        )
    ):
        raise TokenAlreadyCreated(texts.TOKEN_ALREADY_CREATED)
    return CreatedToken(token, secret)


def _generate_token_id(submission: str | None, owner: Owner) -> str:
    return derive_id("personal access token", owner.sub, submission) if submission else random_id()


def revoke_personal_token(
    token: PersonalToken,
    store: Store,
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
    return store.write(
        Transaction(
            personal_access_tokens.revoke(token.token_id, token.owner, now),
            revocation_statements(token, now, address, event),
        )
    )


def revocation_statements(
    token: PersonalToken, now: float, address: str | None, event: AuditEvent
) -> tuple[BoundStatement, ...]:
    """Return the SQL statements, not yet executed, that announce and log the revocation of a personal access token.

    They announce it in the change feed, a table that every process polls, and write it to the audit log. They do not
    revoke the token.
    """
    return (
        change_feed.add("token", token.token_id),
        audit_statement(event, now, owner=token.owner, address=address, detail=token.token_id),
    )


def find_owned_token(token_id: str, owner: str, store: Store) -> PersonalToken | None:
    """Return the personal access token with this id, or ``None`` if there is none or it belongs to another owner."""
    token = personal_access_tokens.find(store, token_id)
    return token if token is not None and token.owner == owner else None


def token_state(token: PersonalToken, now: float) -> Literal["active", "expired", "revoked"]:
    """Return the state of a personal access token; a revoked token stays ``revoked`` after its expiry."""
    if token.revoked_at is not None:
        return "revoked"
    return "active" if token.expires_at > now else "expired"


def _check_name(spec: TokenSpec) -> None:
    if problem := display_name_problem(spec.name):
        raise InvalidRequest(texts.NAME_PROBLEM.format(problem=problem))


def _check_scope(spec: TokenSpec, runtime: Runtime) -> None:
    allowed = allowed_scopes(runtime)
    if not spec.scope <= allowed:
        raise InvalidScope(texts.SCOPE_NOT_FOR_TOKENS, log_detail=format_scope(spec.scope - allowed))
    if allowed and not spec.scope:
        raise InvalidScope(texts.NO_SCOPE_CHOSEN)


def _check_expiry(spec: TokenSpec, settings: Settings, now: float) -> None:
    max_lifetime_s = settings.personal_access_token_lifetime
    if spec.expires_at <= now:
        raise InvalidRequest(texts.EXPIRES_IN_PAST)
    if spec.expires_at > now + max_lifetime_s:
        raise InvalidRequest(texts.EXPIRES_TOO_LATE.format(days=max_lifetime_s // 86400))


def _check_owner(owner: Owner, owners: ResourceOwners) -> None:
    if owners.find(owner.sub) is None:
        raise AccessDenied(texts.ACCOUNT_UNUSABLE, log_detail="the owner was removed or disabled")


def _check_token_count(owner: Owner, store: Store, now: float) -> None:
    tokens = personal_access_tokens.list_by_owner(store, owner.sub)
    active = [token for token in tokens if token_state(token, now) == "active"]
    if len(active) >= MAX_ACTIVE_TOKENS:
        raise InvalidRequest(texts.TOO_MANY_TOKENS.format(maximum=MAX_ACTIVE_TOKENS))


def _initial_reminded_days(lifetime_s: float) -> int | None:
    """Return the initial ``reminded`` value of a token, so that no reminder mail is sent soon after its creation.

    A token that is valid for at most 2 days gets no reminder (1). One that is valid for at most 8 days gets only the
    reminder one day before expiry (7). Others get both reminders (``None``).
    """
    if lifetime_s <= 2 * _DAY_S:
        return 1
    return 7 if lifetime_s <= 8 * _DAY_S else None


def _creation_mail_statements(token: PersonalToken, settings: Settings, now: float) -> tuple[BoundStatement, ...]:
    text = f'A personal access token named "{token.name}" was created for your account at {settings.name}.\n\n'
    text += f"If this was not you, revoke it: {tokens_url(settings)}\n"
    return owner_mail_statements(token.owner, "A personal access token was created", text, settings, now)


def tokens_url(settings: Settings) -> str:
    """Return the URL of the page on which users manage their personal access tokens."""
    return f"{settings.issuer}{settings.tokens_path or ''}"
