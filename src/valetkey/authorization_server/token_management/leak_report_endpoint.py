"""The endpoint for leak reports, which revokes the tokens and client secrets that are reported as leaked.

Anyone may report, without authentication, and the response reveals nothing: its status is 202 for every value, whether
the value was active, expired, or never issued here. The body is a form with ``token``, or JSON as secret scanners send
it: a list of objects with ``token``, one such object, or a list of strings.
"""

from __future__ import annotations

from typing import Any

from valetkey.activity.audit import audit_statement
from valetkey.authorization_server.grant_lifecycle import revoke_grant_statements
from valetkey.authorization_server.owner_mail import owner_mail_statements
from valetkey.authorization_server.personal_tokens.service import revocation_statements, tokens_url
from valetkey.endpoint import Call, MachineResponse
from valetkey.protocol.email_address import is_email_address
from valetkey.protocol.errors import InvalidRequest
from valetkey.protocol.refusal import JSON_HEADERS
from valetkey.protocol.request_body import parse_form_body, parse_json_body
from valetkey.protocol.secret import CLIENT_SECRET, PERSONAL_ACCESS_TOKEN, Secret, is_well_formed
from valetkey.rate_limiting.address import caller_network
from valetkey.storage import change_feed, clients, grants, outbox, personal_access_tokens
from valetkey.storage.clients import Client
from valetkey.storage.engine.statement import BoundStatement

from .lookup import TokenInfo, find_token

_MAX_TOKENS = 50  # values in one report
_MAX_TOKEN_LENGTH = 8192


def report_leak(call: Call) -> MachineResponse:
    """Revoke all tokens and client secrets in a leak report, and return status 202.

    :raises InvalidRequest: if the body is malformed, or has no tokens, or more than 50.
    :raises TooManyRequests: if too many tokens were reported from the caller's network.
    """
    tokens = _read_reported_tokens(call)
    _charge_leak_report(call, len(tokens))
    rows = [row for token in tokens for row in _revocation_statements(token, call)]
    if rows:
        call.runtime.store.write_all(*rows)
    return MachineResponse(202, b"{}", JSON_HEADERS)


def _read_reported_tokens(call: Call) -> tuple[str, ...]:
    if call.content_type.partition(";")[0].strip().lower() != "application/json":
        return (parse_form_body(call.body, call.content_type).require("token"),)
    reported = parse_json_body(call.body, call.content_type)
    tokens = tuple(
        dict.fromkeys(_read_entry(entry) for entry in (reported if isinstance(reported, list) else [reported]))
    )
    if not 0 < len(tokens) <= _MAX_TOKENS:
        raise InvalidRequest(f"a report must contain 1 to {_MAX_TOKENS} tokens")
    return tokens


def _read_entry(entry: Any) -> str:
    value = entry.get("token") if isinstance(entry, dict) else entry
    if not isinstance(value, str) or not value:
        raise InvalidRequest("each entry must be a token, or an object with the member token")
    return value


def _charge_leak_report(call: Call, count: int) -> None:
    description = "too many reports from this network"
    network = caller_network(call.address)
    call.runtime.limits.charge("leak_report_limit", network, now=call.now, description=description, cost=count)


def _revocation_statements(value: str, call: Call) -> tuple[BoundStatement, ...]:
    """Return the SQL statements that revoke a reported value; none if it is not an active token or client secret."""
    if len(value) > _MAX_TOKEN_LENGTH or not value.isascii():
        return ()
    if is_well_formed(value, PERSONAL_ACCESS_TOKEN):
        return _personal_token_statements(value, call)
    if is_well_formed(value, CLIENT_SECRET):
        return _client_secret_statements(value, call)
    token = find_token(call.runtime, value, call.now)
    return _token_statements(token, call) if token else ()


def _personal_token_statements(value: str, call: Call) -> tuple[BoundStatement, ...]:
    runtime, now = call.runtime, call.now
    token = personal_access_tokens.find_active(runtime.store, Secret(value).digest(), now)
    if token is None:
        return ()
    text = f'Your personal access token "{token.name}" at {runtime.settings.name} was found in a public place, '
    text += f"and was revoked. It can no longer be used.\n\nCreate a new one: {tokens_url(runtime.settings)}\n"
    return (
        personal_access_tokens.revoke(token.token_id, token.owner, now),
        *revocation_statements(token, now, call.address, "personal_token.leaked"),
        *owner_mail_statements(
            token.owner, "A personal access token leaked and was revoked", text, runtime.settings, now
        ),
    )


def _token_statements(token: TokenInfo, call: Call) -> tuple[BoundStatement, ...]:
    """Return the SQL statements that revoke the whole grant of an access or refresh token, as in RFC 7009 §2.1.

    An access token without a grant, which was issued to a client for itself, is revoked alone.
    """
    runtime, now = call.runtime, call.now
    grant = grants.find(runtime.store, token.grant_id) if token.grant_id else None
    if grant is not None:
        client = clients.find(runtime.store, grant.client_id, now)
        text = f"A token with which {client.name if client else grant.client_id} uses your account at "
        text += f"{runtime.settings.name} was found in a public place, and was revoked. "
        text += "The app must request access again.\n"
        mail = owner_mail_statements(
            grant.owner, "A token of an app leaked and was revoked", text, runtime.settings, now
        )
        return (*revoke_grant_statements(grant, now, "token.leaked", call.address), *mail)
    if token.jti is None:
        return ()
    return (
        change_feed.add_token(token.jti, token.expires_at),
        audit_statement("token.leaked", now, client_id=token.client_id, address=call.address),
    )


def _client_secret_statements(value: str, call: Call) -> tuple[BoundStatement, ...]:
    """Return the SQL statements that expire a client secret; none if the secret is unknown or expired.

    If the client may use the client credentials grant, its tokens are revoked too.
    """
    runtime, now, digest = call.runtime, call.now, Secret(value).digest()
    client = clients.find_by_secret(runtime.store, digest, now)
    if client is None:
        return ()
    # A thief may have the tokens of such a client, because the secret alone is enough to get them (RFC 6749 §4.4).
    kind: change_feed.ChangeKind = "client" if "client_credentials" in client.grant_types else "changed"
    return (
        clients.expire_secret(digest, now),
        change_feed.add(kind, client.client_id),
        audit_statement("client.secret_leaked", now, client_id=client.client_id, address=call.address),
        *_secret_mail_statements(client, call),
    )


def _secret_mail_statements(client: Client, call: Call) -> tuple[BoundStatement, ...]:
    """Return the SQL statements that queue a mail about a leaked secret to the operator and the client's contacts."""
    settings = call.runtime.settings
    if not settings.mail_url:
        return ()
    text = f"A client secret of {client.name} ({client.client_id}) at {settings.name} was found where others can read "
    text += "it, and is not accepted any more. Give the app another one: valetkey clients rotate-secret "
    subject, addresses = (
        f"A client secret of {client.name} leaked",
        [settings.operator_mail, *client.metadata.get("contacts", ())],
    )
    mail = {"subject": subject, "text": f"{text}{client.client_id}\n"}
    return tuple(
        outbox.add("mail", {"to": address, **mail}, call.now)
        for address in dict.fromkeys(addresses)
        if address and is_email_address(address)
    )
