"""Settings with a wrong value are refused, each in a sentence that names the setting and what it accepts."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from flask import Flask

from valetkey import Valetkey
from valetkey.settings import Settings, SettingsError

WRONG_VALUES: list[tuple[str, Any, str]] = [
    ("cors", "all", "cors must be 'registered', 'any' or 'off'"),
    ("database_pooler", "", "database_pooler must be 'auto', 'transaction' or 'session'"),
    ("rate_limit_fields", "", "rate_limit_fields must be 'ietf', 'legacy', 'both' or 'off'"),
    ("registration_policy", "all", "registration_policy must be 'closed', 'approve' or 'open'"),
    ("metadata_document_clients", True, "metadata_document_clients must be 'off', 'approve' or 'open'"),
    ("revocation_outage", "ignore", "revocation_outage must be 'refuse' or 'accept'"),
    ("baseline", "", "baseline must be 'bcp' or 'mcp'"),
    ("log_format", ["json"], "log_format must be 'text' or 'json'"),
    ("database_connections", 1, "database_connections must be between 2 and 1000"),
    ("database_connections", "64", "database_connections must be a whole number, not a value of type str"),
    ("unused_registration_days", 3651, "unused_registration_days must be between 0 and 3650"),
    ("audit_retention_days", -1, "audit_retention_days must be between 0 and 36500"),
    ("scopes", {" read": "Read"}, "scopes: ' read' is not a scope name (RFC 6749 §3.3)"),
    ("scopes", {"read ": "Read"}, "scopes: 'read ' is not a scope name (RFC 6749 §3.3)"),
    ("scopes", {"read write": "Read"}, "scopes: 'read write' is not a scope name (RFC 6749 §3.3)"),
    ("scopes", {"": "Read"}, "scopes: '' is not a scope name (RFC 6749 §3.3)"),
    ("session_lifetime", True, "session_lifetime must be a whole number, not a value of type bool"),
    ("sign_up", "false", "sign_up must be True or False, not a value of type str"),
    ("issuer", None, "issuer must be text, not None"),
    ("user_limit", 600, "user_limit must be text, such as '600/minute', not a value of type int"),
    ("max_body", 1024, "max_body must be text, such as '1 MiB', not a value of type int"),
    ("docs_path", False, "docs_path must be text or None, not a value of type bool"),
    ("encryption_keys", None, "encryption_keys must be a list of texts, not None"),
    ("trusted_proxies", (10,), "trusted_proxies must be a list of texts, not a value of type tuple"),
    ("sign_in_url", "login", "sign_in_url must be a path that begins with a slash, like /login, or a URL, not 'login'"),
    ("session_lifetime", 59, "session_lifetime must be between 60 and 7776000 seconds, not 59"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG_VALUES)
def test_a_wrong_value_is_refused_with_what_the_setting_accepts(name: str, value: Any, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings(**{name: value})

    assert str(raised.value) == message


@pytest.mark.parametrize("name", [setting.name for setting in fields(Settings)])
def test_a_value_of_any_type_is_accepted_or_refused_with_the_name_of_the_setting(name: str) -> None:
    for value in (None, 5, 2.5, True, b"x", [5], [[]], {}, {5: 5}, {"x": None}, object(), Flask):
        try:
            Valetkey(Flask("api"), env_prefix=None, **{name: value})
        except SettingsError as problem:
            assert all(name in line for line in str(problem).splitlines()), problem
