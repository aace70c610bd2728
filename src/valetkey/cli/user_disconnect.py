"""``valetkey users disconnect``, and the providers that ``valetkey users show`` lists."""

from __future__ import annotations

from typing import Any

import click

from valetkey.federation.links import disconnect_by_operator
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import provider_links

from .app_loading import with_runtime
from .changes import confirm, yes_option
from .users_lookup import require_account


@click.command()
@click.argument("user")
@click.argument("provider")
@yes_option
@with_runtime
def disconnect(runtime: Runtime, user: str, provider: str, yes: bool) -> None:
    """Disconnect a user account from a provider.

    The provider is named by its id, such as google, or by its issuer. The user cannot sign in with it any more, and
    sessions that began with it end.
    """
    account = require_account(runtime.store, user)
    links = provider_links.list_of_account(runtime.store, account.sub)
    link = next(
        (link for link in links if provider in (link.issuer, _provider_id(link.issuer, runtime.settings))), None
    )
    if link is None:
        raise click.ClickException(f"{account.email} is not connected with {provider}; see `valetkey users show`")
    consequences = ["Sessions that began with it end within a second. Apps keep their access."]
    if link.email == account.email and account.email_verified_at is not None:
        consequences.append("If the provider has verified the address, the next sign-in with it connects it again.")
    if len(links) == 1 and not (account.password_hash and runtime.settings.password_sign_in):
        consequences.append("It is the only way to sign in to the account.")
    confirm(f"Disconnect {link.issuer} from {account.email}?", tuple(consequences), yes=yes)
    disconnect_by_operator(link, runtime, runtime.clock())
    click.echo(f"{account.email} is disconnected from {link.issuer}.")


def list_connections(sub: str, runtime: Runtime) -> list[dict[str, Any]]:
    """Return the providers that an account is connected with, oldest first.

    A provider that is not in ``sign_in_with`` has no ``id``.
    """
    members = []
    for link in provider_links.list_of_account(runtime.store, sub):
        values = {
            "id": _provider_id(link.issuer, runtime.settings),
            "issuer": link.issuer,
            "subject": link.subject,
            "email": link.email,
            "connected_at": int(link.linked_at),
            "signed_in_at": int(link.signed_in_at) if link.signed_in_at else None,
        }
        members.append({name: value for name, value in values.items() if value is not None})
    return members


def _provider_id(issuer: str, settings: Settings) -> str | None:
    return next((provider.provider_id for provider in settings.sign_in_with if provider.issuer == issuer), None)
