"""How a fetch goes wrong. The sentences name the host and no more: no address, path, query or answer."""

from __future__ import annotations


class FetchProblem(Exception):
    """There is no answer to use; the sentence says why."""


class FetchRefused(FetchProblem):
    """The guard does not let this URL be fetched."""


class FetchFailed(FetchProblem):
    """The other side could not be reached, or its answer cannot be used."""
