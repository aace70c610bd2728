"""``valetkey db``: the version of the database schema, and its upgrade."""

from __future__ import annotations

import click

from valetkey.runtime import Runtime, prepare_store
from valetkey.storage.schema import HEAD_REVISION, schema_version
from valetkey.web.context import EXTENSION

from .app_loading import load_app


@click.group()
def db() -> None:
    """Show or upgrade the schema of the database."""


@db.command()
@click.pass_context
def upgrade(context: click.Context) -> None:
    """Upgrade the database schema to the needed revision.

    The needed revision is that of the installed version of Valetkey.
    """
    runtime: Runtime = load_app(context).extensions[EXTENSION]
    before = schema_version(runtime.store)
    prepare_store(runtime)
    click.echo(
        f"The schema is {HEAD_REVISION}" + (f", it was {before}." if before and before != HEAD_REVISION else ".")
    )
    runtime.close()


@db.command()
@click.pass_context
def version(context: click.Context) -> None:
    """Show the current and the needed revision of the schema."""
    runtime: Runtime = load_app(context).extensions[EXTENSION]
    click.echo(f"store: {schema_version(runtime.store) or 'none'}, needed: {HEAD_REVISION}")
    runtime.close()
