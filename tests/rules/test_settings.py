"""Settings are documented, unknown names are errors with a suggestion, and all problems are reported together."""

from __future__ import annotations

from dataclasses import fields
from inspect import signature
from typing import get_type_hints

import pytest
from flask import Flask

from valetkey import ResourceServer, Valetkey
from valetkey.resource_server.standalone_context import STANDALONE_SETTINGS
from valetkey.settings import Settings, SettingsError
from valetkey.settings.arguments import ResourceServerArguments, ValetkeyArguments
from valetkey.settings.sources import read_settings


def problems(**values: object) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read_settings(("", values))
    return str(raised.value).splitlines()


def test_every_setting_has_a_description_that_ends_in_a_full_stop() -> None:
    for setting in fields(Settings):
        assert setting.metadata["doc"].endswith("."), setting.name


def test_secret_settings_are_not_printed() -> None:
    settings = Settings(
        database_url="postgresql://u:hidden@h/d",
        redis_url="redis://:hidden@h",
        mail_url="smtp://u:hidden@h",
        encryption_keys=("aGlkZGVuaGlkZGVuaGlkZGVuaGlkZGVuaGlkZGVuaGk=",),
    )

    assert "hidden" not in repr(settings)
    assert "aGlkZGVu" not in repr(settings)


def test_an_unknown_setting_is_an_error_with_a_suggestion() -> None:
    assert problems(isuer="x") == ["isuer: unknown setting; did you mean issuer?"]
    assert problems(zzzz="x") == ["zzzz: unknown setting"]


def test_all_problems_are_reported_together() -> None:
    reported = problems(
        nonsense=1,
        issuer="http://id.example/",
        scopes={"a b": "", "c": "See"},
        access_token_lifetime="soon",
        refresh_retry_window=999,
        encryption_keys=("short",),
        revocation_outage="shrug",
        trusted_proxies=("everyone",),
        oauth_path="oauth/",
        database_url="mysql://x/y",
        redis_url="http://x",
        mail_url="http://x",
        resource="api",
    )

    assert len(reported) >= 14, reported


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"issuer": "http://id.example"}, "https://"),
        ({"issuer": "https://id.example?a=b"}, "no query"),
        ({"issuer": "https://id.example#a"}, "fragment"),
        ({"issuer": "id.example"}, "does not begin with a scheme"),
        ({"issuer": "https://id.example/"}, "'https://id.example'"),
        ({"access_token_lifetime": 0}, "between 1 and"),
        ({"authorization_code_lifetime": 601}, "600"),
        ({"sign_up": "perhaps"}, "true or false"),
        ({"scopes": "profile"}, "JSON"),
        ({"database_url": "postgresql://h/d", "issuer": "https://id.example"}, "encryption_keys must be set"),
        ({"embedded_worker": 5}, "must be True or False"),
        ({"oauth_path": "/account"}, "account_path and oauth_path are both '/account'"),
    ],
)
def test_an_invalid_setting_is_reported_with_its_fix(values: dict[str, object], expected: str) -> None:
    assert expected in "\n".join(problems(**values))


def test_every_invalid_limit_is_reported_at_start() -> None:
    limits = [setting.name for setting in fields(Settings) if setting.name.endswith("_limit")]

    with pytest.raises(SettingsError) as raised:
        Valetkey(Flask("app"), **dict.fromkeys(limits, "often"))

    assert [line.partition(":")[0] for line in str(raised.value).splitlines()] == limits
    assert "100/minute" in str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:9000", "[::1]:1"])
def test_http_is_allowed_on_loopback_addresses(host: str) -> None:
    assert not Settings(issuer=f"http://{host}").is_production


def test_the_first_source_takes_precedence_and_texts_are_converted_to_the_type() -> None:
    settings = read_settings(
        ("", {"sign_up": "false", "encryption_keys": ""}),
        ("VALETKEY_", {"sign_up": "true", "access_token_lifetime": "60", "scopes": '{"a": "See a"}'}),
    )

    assert (settings.sign_up, settings.access_token_lifetime, settings.scopes) == (False, 60, {"a": "See a"})
    assert settings.encryption_keys == ()


def _typed_arguments(extension: type, arguments: type) -> dict[str, object]:
    """Return the type of each setting that is a keyword argument of an extension, by its name."""
    own = get_type_hints(extension.__init__)  # type: ignore[misc]  # of a class that is not known here
    parameters = signature(extension).parameters.keys() - {"settings"}
    return {**{name: own[name] for name in parameters}, **get_type_hints(arguments)}


@pytest.mark.parametrize(
    ("extension", "arguments", "settings"),
    [
        (Valetkey, ValetkeyArguments, {item.name for item in fields(Settings)}),
        (ResourceServer, ResourceServerArguments, STANDALONE_SETTINGS | {"trusted_issuers"}),
    ],
)
def test_each_setting_is_a_typed_argument_and_accepts_values_of_the_setting(
    extension: type, arguments: type, settings: set[str]
) -> None:
    typed, expected = _typed_arguments(extension, arguments), get_type_hints(Settings)
    others = {"app", "clock", "env_prefix", "openapi", "resource_owner"}

    assert typed.keys() - others == settings
    for name in get_type_hints(arguments):
        value_type = str(expected[name])
        if value_type.startswith("tuple["):  # a list is converted
            item = value_type.removeprefix("tuple[").removesuffix(", ...]")
            value_type = f"list[{item}] | {value_type}"
        assert str(typed[name]) == value_type, name
