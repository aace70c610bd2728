"""Create 1,000 users, and print a token of each as a JSON list: ``python -m benchmarks.people KIND``.

It runs with the environment of the deployment, and uses its database. ``KIND`` is ``access`` for access tokens of 8
apps, JWTs or opaque ones as the resource is configured, or ``personal`` for personal access tokens.
"""

from __future__ import annotations

import json
import sys

from benchmarks.app import app
from valetkey.authorization_server.personal_tokens.service import TokenSpec, create_personal_token
from valetkey.protocol.resource_owner import Owner
from valetkey.runtime import Runtime
from valetkey.storage import accounts
from valetkey.storage.engine.transaction import Transaction
from valetkey.testing import mint_token

PEOPLE, APPS = 1_000, 8
DAY_S = 86_400


def create_tokens(kind: str) -> list[str]:
    """Create the users, and return a token of each with the scope ``profile``, which is valid for a day."""
    runtime: Runtime = app.extensions["valetkey"]
    runtime.get_ready()
    now, tokens = runtime.clock(), []
    for number in range(PEOPLE):
        sub = f"person-{number}"
        runtime.store.write(Transaction(accounts.add(sub, f"{sub}@example.org", sub, None, now)))
        if kind == "access":
            tokens.append(mint_token(app, "profile", user_id=sub, client_id=f"app-{number % APPS}", expires_in=DAY_S))
        else:
            spec = TokenSpec("Script", frozenset({"profile"}), now + DAY_S)
            tokens.append(create_personal_token(spec, Owner(sub), runtime, now, None).secret.reveal())
    runtime.close()
    return tokens


if __name__ == "__main__":
    print(json.dumps(create_tokens(sys.argv[1])))
