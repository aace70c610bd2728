"""The algorithms as the JOSE library is to know them."""

from __future__ import annotations

from typing import Any

from joserfc import jws

from valetkey.protocol.algorithms import ASSERTION_ALGORITHMS, SIGNING_ALGORITHMS


class Algorithms(jws.JWSRegistry):
    """Those that are served; joserfc warns of the name EdDSA at each use, though it is the same as Ed25519."""

    def get_alg(self, name: str) -> Any:
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


OURS = Algorithms(algorithms=list(SIGNING_ALGORITHMS))
CLIENTS = Algorithms(algorithms=list(ASSERTION_ALGORITHMS))
