"""``BackendUnavailable``: base class of the exceptions of a backend that does not respond."""

from __future__ import annotations


class BackendUnavailable(Exception):
    """A database, counter server, issuer or other backend does not respond. The request gets 503.

    The message is for the log and the operator. Each kind of backend has a subclass: ``StoreUnavailable``,
    ``CountersUnavailable``, ``IssuerUnavailable``, ``ResourceOwnersUnavailable`` and ``TooManyFetches``.

    ``retry_after`` is the number of seconds after which the caller may try again.
    """

    retry_after = 2
