"""``valetkey openapi``: write the API's OpenAPI document, and list changes that break clients of an older document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from valetkey.authorization_server.openapi import build_oauth_document
from valetkey.openapi.diff.operations import breaking_changes
from valetkey.openapi.security import path_items
from valetkey.resource_server.standalone_context import StandaloneContext
from valetkey.runtime import Runtime
from valetkey.web.context import EXTENSION

from .app_loading import load_app, read_json_file
from .option_values import NonEmptyPath


@click.command()
@click.option("-o", "--output", type=NonEmptyPath(dir_okay=False, path_type=Path), help="Write to this file.")
@click.option(
    "--check",
    "old",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="List breaking changes since this older document; exit status 1 if there are any.",
)
@click.option("--oauth", is_flag=True, help="Describe the OAuth endpoints instead of the API.")
@click.pass_context
def openapi(context: click.Context, output: Path | None, old: Path | None, oauth: bool) -> None:
    """Write the API's OpenAPI document, or check its compatibility."""
    old_document = None if old is None else _read_document(old)  # read first: --output may name the same file
    extension: Runtime | StandaloneContext = load_app(context, allow_resource_server=True).extensions[EXTENSION]
    try:
        document = _build_oauth_document(extension) if oauth else _build_api_document(extension)
    except ValueError as cause:
        raise click.ClickException(str(cause)) from cause
    finally:
        extension.close()
    if output is not None:
        output.write_bytes(_serialize(document))
        click.echo(f"{output} has {_count_operations(document)} operations.", err=True)
    elif old is None:
        click.echo(_serialize(document), nl=False)
    if old_document is not None:
        _check_compatibility(old_document, document)


def _build_api_document(extension: Runtime | StandaloneContext) -> dict[str, Any]:
    if isinstance(extension, Runtime):
        return extension.build_openapi_document()
    return extension.build_openapi_document(extension.read_issuer_metadata())


def _build_oauth_document(extension: Runtime | StandaloneContext) -> dict[str, Any]:
    if isinstance(extension, Runtime):
        return build_oauth_document(extension.settings)
    raise click.UsageError("--oauth needs an app with a Valetkey: this one has a ResourceServer")


def _serialize(document: dict[str, Any]) -> bytes:
    """Return a document as JSON in UTF-8, whatever the encoding of the terminal is (RFC 8259 §8.1)."""
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _count_operations(document: dict[str, Any]) -> int:
    return sum(
        "responses" in operation
        for path_item in path_items(document).values()
        for operation in path_item.values()
        if isinstance(operation, dict)
    )


def _read_document(file: Path) -> dict[str, Any]:
    document = read_json_file(file)
    if not isinstance(document.get("paths"), dict):
        raise click.ClickException("the older file is not an OpenAPI document: it has no paths")
    return document


def _check_compatibility(old_document: dict[str, Any], new_document: dict[str, Any]) -> None:
    """Print the changes that break clients of the old OpenAPI document; exit with status 1 if there are any.

    :raises click.ClickException: if the old document is malformed.
    """
    try:
        changes = list(dict.fromkeys(breaking_changes(old_document, new_document)))
    except (AttributeError, LookupError, TypeError, ValueError) as cause:  # such as a list instead of an object
        raise click.ClickException(f"the older file cannot be read as an OpenAPI document: {cause}") from cause
    for sentence in changes:
        click.echo(f"breaking: {sentence}")
    if changes:
        raise SystemExit(1)
    click.echo("compatible")
