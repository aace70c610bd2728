"""Options of ``valetkey clients create`` and ``update``: the metadata of a client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from valetkey.authorization_server.clients.operator_metadata import INTROSPECTION_CHOICES
from valetkey.protocol.client_policy import DEVICE_CODE_GRANT_TYPE

from .app_loading import read_json_file
from .option_values import refuse_empty

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--name", help="The name that users see on the consent page."),
    click.option("--redirect-uri", "redirect_uris", multiple=True, help="Where to return to; may be repeated."),
    click.option(
        "--scope",
        "scopes",
        multiple=True,
        callback=refuse_empty,
        help="Scope that it may request; repeatable. [default: all]",
    ),
    click.option(
        "--grant-type",
        "grant_types",
        multiple=True,
        callback=refuse_empty,
        help="Replaces the policy's grant types; repeatable. device_code is short for that of RFC 8628.",
    ),
    click.option("--uri", help="The app's home page."),
    click.option(
        "--post-logout-redirect-uri", "post_logout_redirect_uris", multiple=True, help="Redirect URI after logout."
    ),
    click.option("--backchannel-logout-uri", help="URI to which logout tokens are sent."),
    click.option("--frontchannel-logout-uri", help="URI that the browser loads at logout."),
    click.option("--contact", help="An e-mail address of its developers."),
    click.option("--auth-method", callback=refuse_empty, help="Authentication method. [default: the policy's first]"),
    click.option("--jwks", type=EXISTING_FILE, help="A file with its public keys, a JWK set, for private_key_jwt."),
    click.option("--jwks-uri", help="URL of its public keys."),
    click.option(
        "--claims-in-id-token/--no-claims-in-id-token",
        default=None,
        help="Whether ID tokens have the claims of the granted scopes. [default: only userinfo has them]",
    ),
    click.option(
        "--introspection",
        type=click.Choice(INTROSPECTION_CHOICES),
        help="Which tokens it may introspect. [default: any access token with the policy machine, else its own]",
    ),
    click.option(
        "--introspection-resource",
        "introspection_resources",
        multiple=True,
        help="The API whose access tokens it may introspect, with --introspection resource; may be repeated.",
    ),
    click.option(
        "--metadata", type=EXISTING_FILE, help="A JSON file with members of RFC 7591 §2; other options override it."
    ),
)


def metadata_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command function with the options of client metadata; ``read_members`` reads their values."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_members(options: dict[str, Any]) -> dict[str, Any]:
    """Return the members of client metadata (RFC 7591 §2) that the options name; an empty text removes a member.

    Options with a default do not accept an empty text.

    :param options: the values of ``metadata_options``, by parameter name; they are removed from it.
    """
    values = {parameter: options.pop(parameter) for parameter in _PARAMETERS}
    metadata, jwks, scopes = values.pop("metadata"), values.pop("jwks"), values.pop("scopes")
    members = read_json_file(metadata) if metadata else {}
    if "device_code" in values["grant_types"]:
        values["grant_types"] = [
            DEVICE_CODE_GRANT_TYPE if name == "device_code" else name for name in values["grant_types"]
        ]
    renamed = {_MEMBERS.get(parameter, parameter): value for parameter, value in values.items()}
    if renamed["contacts"]:
        renamed["contacts"] = [renamed["contacts"]]
    renamed |= {"scope": " ".join(scopes), "jwks": read_json_file(jwks) if jwks else None}
    for uri in ("backchannel_logout_uri", "frontchannel_logout_uri"):
        if renamed[uri]:
            renamed[uri.replace("_uri", "_session_required")] = True
    present = {name: value for name, value in renamed.items() if value not in (None, (), []) and name != "scope"}
    if scopes:
        present["scope"] = renamed["scope"]
    lists = {name: list(value) if isinstance(value, tuple) else value for name, value in present.items()}
    return members | {name: None if value in ("", [""]) else value for name, value in lists.items()}


_PARAMETERS = (
    *("name", "redirect_uris", "scopes", "grant_types", "uri", "post_logout_redirect_uris", "backchannel_logout_uri"),
    *("frontchannel_logout_uri", "contact", "auth_method", "jwks", "jwks_uri", "claims_in_id_token", "introspection"),
    *("introspection_resources", "metadata"),
)
_MEMBERS = {  # by parameter: the member of RFC 7591 §2
    "name": "client_name",
    "uri": "client_uri",
    "contact": "contacts",
    "auth_method": "token_endpoint_auth_method",
}
