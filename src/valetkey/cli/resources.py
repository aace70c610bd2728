"""``valetkey resources``: manage the APIs that tokens can be for (RFC 8707)."""

from __future__ import annotations

from typing import Any

import click

from valetkey.activity.audit import audit_statement
from valetkey.caches.resources import TOKEN_FORMATS
from valetkey.protocol.algorithms import SIGNING_ALGORITHMS
from valetkey.protocol.uri import normalize_resource, resource_uri_problem
from valetkey.runtime import Runtime
from valetkey.storage import change_feed
from valetkey.storage import resources as resource_storage
from valetkey.storage.engine.statement import BoundStatement

from .app_loading import with_runtime
from .option_values import refuse_empty
from .printing import json_option, print_result, print_table


@click.group()
def resources() -> None:
    """Manage resources: the APIs that tokens can be for."""


_name_option = click.option("--name", callback=refuse_empty, help="The name that users see.")
_token_format_option = click.option(
    "--token-format", type=click.Choice(list(TOKEN_FORMATS)), help="The format of its tokens."
)
_signing_alg_option = click.option(
    "--signing-alg", type=click.Choice(list(SIGNING_ALGORITHMS)), help="The algorithm that signs its JWTs."
)
_scope_option = click.option(
    "--scope", "scopes", multiple=True, callback=refuse_empty, help="A scope of this API. [default: all scopes]"
)


@resources.command()
@click.argument("url")
@_name_option
@_token_format_option
@_signing_alg_option
@_scope_option
@json_option
@with_runtime
def create(runtime: Runtime, url: str, as_json: bool, **options: Any) -> None:
    """Add a resource: an API that tokens can be for.

    URL is the resource identifier of the API (RFC 8707 §2).
    """
    problem = resource_uri_problem(url)
    if problem:
        raise click.ClickException(f"{url} cannot be a resource: {problem} (RFC 8707 §2)")
    stored_urls = resource_storage.list_all(runtime.store).keys()
    for existing in runtime.resources.all():
        if normalize_resource(existing) == normalize_resource(url) and (existing != url or url in stored_urls):
            raise click.ClickException(f"there is a resource {existing} already: use `valetkey resources update`")
    _save_resource(runtime, url, {}, options, as_json)


@resources.command()
@click.argument("url")
@_name_option
@_token_format_option
@_signing_alg_option
@_scope_option
@json_option
@with_runtime
def update(runtime: Runtime, url: str, as_json: bool, **options: Any) -> None:
    """Change a resource, which may be the API of this app itself.

    Options that are left out stay as they are.
    """
    if url not in runtime.resources.all():
        raise click.ClickException(f"unknown resource {url}")
    _save_resource(runtime, url, dict(resource_storage.list_all(runtime.store).get(url, {})), options, as_json)


@resources.command("list")
@json_option
@with_runtime
def list_resources(runtime: Runtime, as_json: bool) -> None:
    """List all resources (APIs that tokens can be for)."""
    rows = [
        {"resource": resource.resource, "name": resource.name, "token_format": resource.token_format}
        for resource in runtime.resources.all().values()
    ]
    print_table(rows, ("resource", "token_format", "name"), as_json, empty_message="There are no resources.")


@resources.command()
@click.argument("url")
@with_runtime
def remove(runtime: Runtime, url: str) -> None:
    """Remove a resource, so that no more tokens are issued for it."""
    if url not in resource_storage.list_all(runtime.store):
        raise click.ClickException(f"unknown resource {url}, or it cannot be removed")
    runtime.store.write_all(resource_storage.remove(url), *_change_statements(runtime.clock(), f"removed {url}"))
    click.echo(f"{url} is removed.")


def _save_resource(
    runtime: Runtime, url: str, metadata: dict[str, Any], options: dict[str, Any], as_json: bool
) -> None:
    """Store a resource (an API that tokens can be for) and print it.

    :param metadata: the stored metadata of the resource (RFC 9728 §2), which ``options`` override; empty if it is new.
    :param options: the command's options by name; an option that was left out is ``None``.
    :raises click.ClickException: if a scope is not in the setting ``scopes``.
    """
    scopes = " ".join(options["scopes"]).split()
    unknown = set(scopes) - set(runtime.settings.scopes)
    if unknown:
        raise click.ClickException(f"unknown scope: {' '.join(sorted(unknown))}")
    new = {
        "resource_name": options["name"],
        "token_format": options["token_format"],
        "signing_alg": options["signing_alg"],
        "scopes_supported": scopes or None,
    }
    metadata |= {name: value for name, value in new.items() if value is not None}
    runtime.keys.get_signing_key(metadata.get("signing_alg", "ES256"), runtime.clock())  # generates the key, if needed
    now = runtime.clock()
    runtime.store.write_all(resource_storage.upsert(url, metadata, now), *_change_statements(now, url))
    print_result({"resource": url, **metadata}, as_json)


def _change_statements(now: float, detail: str) -> tuple[BoundStatement, ...]:
    return (
        change_feed.add("changed", "resources"),
        audit_statement("resource.changed", now, detail=detail),
    )
