"""``valetkey users disconnect``, and the providers that ``valetkey users show`` lists."""

from __future__ import annotations

from typing import Any

import click

from valetkey.federation.links import disconnect_by_operator, list_providers
from valetkey.runtime import Runtime
from valetkey.settings import Settings
from valetkey.storage import provider_links

from .changes import confirm, yes_option
from .users_lookup import require_account, with_accounts


@click.command()
@click.argument("user")
@click.argument("provider")
@yes_option
@with_accounts
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
        raise click.ClickException(f"{account.label} is not connected with {provider}; see `valetkey users show`")
    consequences = [
        "Sessions that began with it end within a second. Apps keep their access.",
        "Only the user can connect it again, on the account page.",
    ]
    if any(state.link == link and not state.may_disconnect for state in list_providers(account.sub, runtime)):
        consequences.append("It is the only way to sign in to the account.")
    confirm(f"Disconnect {link.issuer} from {account.label}?", tuple(consequences), yes=yes)
    disconnect_by_operator(link, runtime, runtime.clock())
    click.echo(f"{account.label} is disconnected from {link.issuer}.")


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
