"""Problem details (RFC 9457) for a host's own refusals: ``raise Problem(409, "it is sold out")``."""

from __future__ import annotations

from valetkey.web.problems import Problem, problem
from valetkey.web.problems import answer_problems as use_problems

__all__ = ["Problem", "problem", "use_problems"]
