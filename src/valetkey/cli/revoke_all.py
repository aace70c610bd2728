"""``valetkey revoke-all``: end all sessions and tokens, for a database that `pg_restore` has restored."""

from __future__ import annotations

import click

from valetkey.runtime import Runtime
from valetkey.tokens.revoke_all import revoke_everything

from .app_loading import with_runtime


def list_consequences(*, has_built_in_accounts: bool) -> tuple[str, ...]:
    """Return sentences that say what ends and what remains."""
    return (
        "All users are signed out and must allow each app again."
        if has_built_in_accounts
        else "Users must allow each app again. The app's own sessions do not end.",
        "All access, refresh and personal access tokens and mailed links become invalid; signing keys are replaced.",
        "Mail and logout tokens that are queued are not sent.",
        f"{'Users, passwords, provider links, apps' if has_built_in_accounts else 'Apps'} and their secrets remain.",
    )


@click.command("revoke-all")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@with_runtime
def revoke_all(runtime: Runtime, yes: bool) -> None:
    """End all sessions and revoke all tokens.

    Run it after `pg_restore`, before servers start: the backup does not know what was revoked or used after it was
    made. Running servers apply it within a second.
    """
    for line in list_consequences(has_built_in_accounts=runtime.has_built_in_accounts):
        click.echo(line)
    if not yes:
        click.confirm("Revoke everything?", abort=True)
    revoke_everything(runtime.store, runtime.cipher, runtime.clock(), "tokens.all_revoked")
    click.echo("All sessions have ended and all tokens are revoked.")
