"""``valetkey resources``: the APIs that tokens can be for (RFC 8707)."""

from __future__ import annotations

from typing import Any

import click

from valetkey.activity.audit import audit_statement
from valetkey.caches.resources import TOKEN_FORMATS
from valetkey.protocol.algorithms import SIGNING_ALGORITHMS
from valetkey.protocol.uri import normalize_resource, resource_uri_problem
from valetkey.runtime import Runtime
from valetkey.storage import change_feed
from valetkey.storage import resources as stored

from .app_loading import json_option, print_result, with_runtime
from .printing import print_table


@click.group()
def resources() -> None:
    """APIs that tokens can be for."""


_name_option = click.option("--name", help="The name that people see.")
_token_format_option = click.option(
    "--token-format", type=click.Choice(list(TOKEN_FORMATS)), help="What its tokens are."
)
_signing_alg_option = click.option(
    "--signing-alg", type=click.Choice(list(SIGNING_ALGORITHMS)), help="What signs its JWTs."
)
_scope_option = click.option("--scope", "scopes", multiple=True, help="What it knows; all scopes where left out.")


@resources.command()
@click.argument("url")
@_name_option
@_token_format_option
@_signing_alg_option
@_scope_option
@json_option
@with_runtime
def create(runtime: Runtime, url: str, as_json: bool, **options: Any) -> None:
    """Add a resource."""
    problem = resource_uri_problem(url)
    if problem:
        raise click.ClickException(f"{url} cannot be a resource: {problem} (RFC 8707 §2)")
    for one in runtime.resources.all():
        if normalize_resource(one) == normalize_resource(url) and (one != url or url in stored.list_all(runtime.store)):
            raise click.ClickException(f"there is a resource {one} already: use `valetkey resources update`")
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
    """Change a resource; the API of the server itself too."""
    if url not in runtime.resources.all():
        raise click.ClickException(f"there is no resource {url}")
    _save_resource(runtime, url, dict(stored.list_all(runtime.store).get(url, {})), options, as_json)


@resources.command("list")
@json_option
@with_runtime
def list_resources(runtime: Runtime, as_json: bool) -> None:
    """Show all resources."""
    rows = [
        {"resource": one.resource, "name": one.name, "token_format": one.token_format}
        for one in runtime.resources.all().values()
    ]
    print_table(rows, ("resource", "token_format", "name"), as_json, empty_message="There are no resources.")


@resources.command()
@click.argument("url")
@with_runtime
def remove(runtime: Runtime, url: str) -> None:
    """Remove a resource; no more tokens are made for it."""
    if url not in stored.list_all(runtime.store):
        raise click.ClickException(f"there is no resource {url} that could be removed")
    runtime.revoke(stored.remove(url), *_change_statements(runtime, f"removed {url}"))
    click.echo(f"{url} is removed.")


def _save_resource(
    runtime: Runtime, url: str, metadata: dict[str, Any], options: dict[str, Any], as_json: bool
) -> None:
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
    runtime.keys.get_signing_key(metadata.get("signing_alg", "ES256"), runtime.clock())  # made before it signs
    runtime.revoke(stored.upsert(url, metadata, runtime.clock()), *_change_statements(runtime, url))
    print_result({"resource": url, **metadata}, as_json)


def _change_statements(runtime: Runtime, detail: str) -> tuple[Any, ...]:
    now = runtime.clock()
    return (
        change_feed.add("changed", "resources", now, runtime.revocation_expiry),
        audit_statement("resource.changed", now, detail=detail),
    )
