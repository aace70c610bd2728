"""``valetkey resources``: the APIs that tokens can be for (RFC 8707)."""

from __future__ import annotations

from typing import Any

import click

from valetkey.activity.audit import audit
from valetkey.caches.resources import TOKEN_FORMATS
from valetkey.protocol.algorithms import SIGNING_ALGORITHMS
from valetkey.protocol.uri import comparable_resource, resource_problem
from valetkey.runtime import Runtime
from valetkey.storage import resources as stored
from valetkey.storage import revocations

from .app_loading import json_option, tell, with_runtime
from .printing import tell_rows


@click.group()
def resources() -> None:
    """APIs that tokens can be for."""


_name = click.option("--name", help="The name that people see.")
_format = click.option("--token-format", type=click.Choice(list(TOKEN_FORMATS)), help="What its tokens are.")
_algorithm = click.option("--signing-alg", type=click.Choice(list(SIGNING_ALGORITHMS)), help="What signs its JWTs.")
_scope = click.option("--scope", "scopes", multiple=True, help="What it knows; all scopes where left out.")


@resources.command()
@click.argument("url")
@_name
@_format
@_algorithm
@_scope
@json_option
@with_runtime
def create(runtime: Runtime, url: str, as_json: bool, **given: Any) -> None:
    """Add a resource."""
    problem = resource_problem(url)
    if problem:
        raise click.ClickException(f"{url} cannot be a resource: {problem} (RFC 8707 §2)")
    for one in runtime.resources.all():
        if comparable_resource(one) == comparable_resource(url) and (one != url or url in stored.every(runtime.store)):
            raise click.ClickException(f"there is a resource {one} already: use `valetkey resources update`")
    _put(runtime, url, {}, given, as_json)


@resources.command()
@click.argument("url")
@_name
@_format
@_algorithm
@_scope
@json_option
@with_runtime
def update(runtime: Runtime, url: str, as_json: bool, **given: Any) -> None:
    """Change a resource; the API of the server itself too."""
    if url not in runtime.resources.all():
        raise click.ClickException(f"there is no resource {url}")
    _put(runtime, url, dict(stored.every(runtime.store).get(url, {})), given, as_json)


@resources.command("list")
@json_option
@with_runtime
def list_resources(runtime: Runtime, as_json: bool) -> None:
    """Show all resources."""
    rows = [
        {"resource": one.resource, "name": one.name, "token_format": one.token_format}
        for one in runtime.resources.all().values()
    ]
    tell_rows(rows, ("resource", "token_format", "name"), as_json, none="There are no resources.")


@resources.command()
@click.argument("url")
@with_runtime
def remove(runtime: Runtime, url: str) -> None:
    """Remove a resource; no more tokens are made for it."""
    if url not in stored.every(runtime.store):
        raise click.ClickException(f"there is no resource {url} that could be removed")
    runtime.revoke(stored.remove(url), *_told(runtime, f"removed {url}"))
    click.echo(f"{url} is removed.")


def _put(runtime: Runtime, url: str, metadata: dict[str, Any], given: dict[str, Any], as_json: bool) -> None:
    scopes = " ".join(given["scopes"]).split()
    unknown = set(scopes) - set(runtime.settings.scopes)
    if unknown:
        raise click.ClickException(f"unknown scope: {' '.join(sorted(unknown))}")
    new = {
        "resource_name": given["name"],
        "token_format": given["token_format"],
        "signing_alg": given["signing_alg"],
        "scopes_supported": scopes or None,
    }
    metadata |= {name: value for name, value in new.items() if value is not None}
    runtime.keys.current(metadata.get("signing_alg", "ES256"), runtime.clock())  # made before it signs
    runtime.revoke(stored.put(url, metadata, runtime.clock()), *_told(runtime, url))
    tell({"resource": url, **metadata}, as_json)


def _told(runtime: Runtime, detail: str) -> tuple[Any, ...]:
    now = runtime.clock()
    return (
        revocations.add("changed", "resources", now, runtime.revocation_ends),
        audit("resource.changed", now, detail=detail),
    )
