"""What is known of a person, as it may be told: a host's own accounts may know it in any shape."""

from __future__ import annotations

import logging
from typing import Any

from valetkey.protocol.claims import claim_problem
from valetkey.runtime import Runtime

_log = logging.getLogger("valetkey")


def read_owner_claims(owner: str, scope: frozenset[str], runtime: Runtime) -> dict[str, Any]:
    """The claims that this scope opens; none is null or empty (OpenID Connect Core §5.3.2).

    One of another JSON type than §5.1 gives it is left out, and the log says which.
    """
    known = {name: value for name, value in runtime.owners.claims(owner, scope).items() if value not in (None, "")}
    problems = {name: problem for name, value in known.items() if (problem := claim_problem(name, value))}
    for problem in problems.values():
        _log.warning("%s, and is left out", problem)
    return {name: value for name, value in known.items() if name not in problems}
