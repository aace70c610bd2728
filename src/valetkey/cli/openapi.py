"""``valetkey openapi``: writes the API's OpenAPI document, and tells what a new one breaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from valetkey.authorization_server.openapi import build_oauth_document
from valetkey.openapi.diff.operations import breaking_changes
from valetkey.runtime import Runtime
from valetkey.web.context import EXTENSION

from .app_loading import load_app, read_json_file


@click.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write into this file.")
@click.option(
    "--check",
    "old",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Tell what breaks for those who rely on this older document; exit status 1 where something does.",
)
@click.option("--oauth", is_flag=True, help="Describe the OAuth endpoints instead of the API.")
@click.pass_context
def openapi(context: click.Context, output: Path | None, old: Path | None, oauth: bool) -> None:
    """Write the OpenAPI document, or tell what a change breaks."""
    before = None if old is None else _read_document(old)  # the same file may be written now
    runtime: Runtime = load_app(context).extensions[EXTENSION]
    try:
        made = build_oauth_document(runtime) if oauth else runtime.build_openapi_document()
    except ValueError as problem:
        raise click.ClickException(str(problem)) from problem
    finally:
        runtime.close()
    if output is not None:
        output.write_text(_serialize(made), encoding="utf-8")
        click.echo(f"{output} has {_count_operations(made)} operations.", err=True)
    elif old is None:
        click.echo(_serialize(made), nl=False)
    if before is not None:
        _check_compatibility(before, made)


def _serialize(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _count_operations(document: dict[str, Any]) -> int:
    return sum(
        "responses" in one for item in document["paths"].values() for one in item.values() if isinstance(one, dict)
    )


def _read_document(file: Path) -> dict[str, Any]:
    old = read_json_file(file)
    if not isinstance(old.get("paths"), dict):
        raise click.ClickException("the older file is no OpenAPI document: it has no paths")
    return old


def _check_compatibility(old_document: dict[str, Any], new_document: dict[str, Any]) -> None:
    try:
        changes = list(dict.fromkeys(breaking_changes(old_document, new_document)))
    except (AttributeError, LookupError, TypeError, ValueError) as cause:  # a list where an object has to be, say
        raise click.ClickException(f"the older file is no OpenAPI document that can be read: {cause}") from cause
    for sentence in changes:
        click.echo(f"breaking: {sentence}")
    if changes:
        raise SystemExit(1)
    click.echo("compatible")
