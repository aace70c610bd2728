"""Claims of a resource owner, checked before a client gets them, because the host app may return values of any type."""

from __future__ import annotations

import logging
from typing import Any

from valetkey.protocol.claims import claim_problem
from valetkey.runtime import Runtime

_log = logging.getLogger("valetkey")


def read_owner_claims(owner: str, scope: frozenset[str], runtime: Runtime) -> dict[str, Any]:
    """Return the claims of a resource owner that a scope includes, without empty values (OpenID Connect Core §5.3.2).

    A claim with another JSON type than in OpenID Connect Core §5.1 is omitted, and a warning is logged.

    :param owner: the ``sub`` of the resource owner.
    """
    claims = {name: value for name, value in runtime.owners.claims(owner, scope).items() if value not in (None, "")}
    problems = {name: problem for name, value in claims.items() if (problem := claim_problem(name, value))}
    for problem in problems.values():
        _log.warning("%s, and is left out", problem)
    return {name: value for name, value in claims.items() if name not in problems}
