"""Read the claims about a user from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from valetkey.protocol.claim_formats import claim_problems
from valetkey.protocol.claims import STANDARD_CLAIMS
from valetkey.protocol.email_address import normalize_email_address
from valetkey.settings import Settings

from .app_loading import read_json_file


def read_claims(settings: Settings, path: Path, email: str) -> dict[str, Any]:
    """Return the claims of an account that a JSON file contains, by name (OpenID Connect Core §5.1).

    :param email: e-mail address of the account, which the claim ``email`` must equal.
    :raises click.ClickException: if claims are invalid; the message lists every problem.
    """
    claims = read_json_file(path)
    problems = list(claim_problems(claims).values())
    supported_claims = STANDARD_CLAIMS.keys() | settings.custom_claims | {"sub"}
    problems += [
        f"{name} is neither a standard claim nor in the setting scope_claims"
        for name in claims.keys() - supported_claims
    ]
    if "sub" in claims:
        problems.append("the claim sub cannot be set: the server generates it for each account")
    if normalize_email_address(str(claims.pop("email", email))) != email:
        problems.append(f"the claim email is not {email}" if email else "the account has no e-mail address: add one")
    if problems:
        raise click.ClickException("\n  ".join(problems))
    return claims
