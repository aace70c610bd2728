"""Write docs/settings.md from ``Settings``: ``python docs/write_settings.py``."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path

from valetkey.settings import Settings

HEAD = """# Settings

Set each one as a keyword of `Valetkey(...)`, as the environment variable `VALETKEY_<NAME>`, or as
`app.config["VALETKEY_<NAME>"]`; the first of these takes precedence, under every server. If a value is invalid, or a
keyword or a configuration key is unknown, the server does not start, and one error message lists all problems.
Editors complete the keywords, and type checkers check them.

## Environment variables

```sh
export VALETKEY_ISSUER=https://api.example.com
export VALETKEY_TRUSTED_PROXIES=10.0.0.0/8,192.168.0.0/16
export VALETKEY_SCOPES='{"orders:read": "See your orders"}'
valetkey --app app.py check && gunicorn app:app
```

- A list is separated by commas, a mapping is JSON, a boolean is `true` or `false`. An empty
  variable means `None` if that is allowed for the setting, as for `docs_path`; else it counts as not set.
- If a variable begins with `VALETKEY_` but is not a setting, the log names it (not its value) and the most similar
  setting, and `valetkey check` fails. Variables of the command (`VALETKEY_APP`) and those that Kubernetes adds for a
  service (`VALETKEY_PORT`, `VALETKEY_SERVICE_HOST`) are ignored.
- A second app in one process has its own prefix: `Valetkey(app, env_prefix="SHOP_")` reads `SHOP_ISSUER`. With
  `env_prefix=None` an app reads no variables.
- `ResourceServer` reads its settings by the same rules, `VALETKEY_TRUSTED_ISSUERS` as a list.
- Tests that use `valetkey.testing` ignore the environment.

## The issuer

Set `issuer` on every server. `valetkey serve` takes its own address by default, such as `http://127.0.0.1:8000`. Under
any other server, if you do not set it, it is `http://127.0.0.1:8000`; use that for a first try only. Requests to
Valetkey's endpoints and pages and to guarded routes get a response only if they were sent to 127.0.0.1, ::1 or
localhost, on any port; else they are refused with status 421. Behind a proxy, `Host` is what `ProxyFix` makes of it, or
the `X-Forwarded-Host` of one of `trusted_proxies`.

If `issuer` is set to a loopback address, the server is one for development: clients may register themselves, client
metadata documents and http URLs are accepted, outgoing requests may reach this machine, and `--demo` works. The default
issuer allows none of these.

With an issuer that is set, requests to every host are served, since load balancers and health checks use internal
names. No URL is made from the `Host` header. The first request to another host than the issuer's is logged.

## All settings

| Setting | Default | Description |
|---|---|---|
"""


def text() -> str:
    """Return the page, with one row for each setting in the order of the class."""
    rows = []
    for setting in fields(Settings):
        default = setting.default if setting.default is not MISSING else {}
        json_value = list(default) if isinstance(default, tuple) else default
        default_text = "None" if default is None else json.dumps(json_value)
        description = str(setting.metadata["doc"]).replace("|", "\\|")
        rows.append(f"| `{setting.name}` | `{default_text}` | {description} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(text())
