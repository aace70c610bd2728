"""``valetkey clients update``: change the registration of an app."""

from __future__ import annotations

from typing import Any

import click

from valetkey.authorization_server.clients.update import check_update, write_update
from valetkey.protocol.client_policy import CLIENT_POLICIES
from valetkey.runtime import Runtime

from .app_loading import with_runtime
from .changes import confirm_changes, yes_option
from .client_options import metadata_options, read_members
from .clients_lookup import require_client
from .printing import json_option, print_result


@click.command()
@click.argument("client_id")
@click.option("--policy", type=click.Choice(list(CLIENT_POLICIES)), help="Another policy.")
@metadata_options
@click.option("--keep-consents", is_flag=True, help="Do not ask users again who allowed the app as it was.")
@yes_option
@json_option
@with_runtime
def update(
    runtime: Runtime,
    client_id: str,
    policy: str | None,
    keep_consents: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Change the registration of an app (OAuth client).

    Each option replaces a value. An empty text removes it, unless the option has a default. What will change is shown
    first.
    """
    client = require_client(runtime.store, client_id, runtime.clock())
    members = read_members(options)
    if not members and policy is None:
        raise click.UsageError("nothing to change: name at least one option, such as --redirect-uri")
    changes = check_update(runtime.settings, client, members, policy)
    consequences = []
    if changes.identity_changes and not keep_consents:
        consequences.append("Users who allowed it are asked for consent again. They are shown:")
        consequences += [f"  {sentence}" for sentence in changes.identity_changes]
    if changes.ends_tokens:
        consequences.append("Its tokens end, because it will not authenticate any more.")
    if not confirm_changes(client_id, changes.changes, tuple(consequences), yes=yes):
        return
    secret = write_update(runtime, changes, runtime.clock(), keep_consents=keep_consents)
    print_result({"client_id": client_id, "client_secret": secret.reveal() if secret else None}, as_json)
