"""Read the claims about a user from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import click

from valetkey.protocol.claim_formats import claim_problems
from valetkey.protocol.claims import STANDARD_CLAIMS
from valetkey.protocol.email_address import normalize_email_address
from valetkey.settings import Settings

from .app_loading import read_json_file


class AccountClaims(NamedTuple):
    """The claims about a user that a file contains.

    :param stored: those that are stored as claims, by name.
    :param email_is_verified: the claim ``email_verified``, which is stored as a time; ``None`` if there is none.
    """

    stored: dict[str, Any]
    email_is_verified: bool | None


def read_claims(settings: Settings, path: Path, email: str) -> AccountClaims:
    """Return the claims of an account that a JSON file contains (OpenID Connect Core §5.1).

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
    is_verified = claims.pop("email_verified", None)
    is_other_address = normalize_email_address(str(claims.pop("email", email))) != email
    if not email and (is_other_address or is_verified is not None):
        problems.append("the account has no e-mail address: add one")
    elif is_other_address:
        problems.append(f"the claim email is not {email}")
    if problems:
        raise click.ClickException("\n  ".join(problems))
    return AccountClaims(claims, is_verified)
