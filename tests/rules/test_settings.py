"""Each setting has words, an unknown one is an error with a suggestion, all problems are told together."""

from __future__ import annotations

from dataclasses import fields

import pytest
from flask import Flask

from valetkey import Valetkey
from valetkey.settings import Settings, SettingsError
from valetkey.settings.sources import environment_values, read_settings


def problems(**values: object) -> list[str]:
    with pytest.raises(SettingsError) as told:
        read_settings(("", values))
    return str(told.value).splitlines()


def test_every_setting_has_words_that_end_in_a_full_stop() -> None:
    for one in fields(Settings):
        assert one.metadata["doc"].endswith("."), one.name


def test_secrets_among_the_settings_do_not_print() -> None:
    settings = Settings(
        database_url="postgresql://u:hidden@h/d",
        redis_url="redis://:hidden@h",
        mail_url="smtp://u:hidden@h",
        encryption_keys=("aGlkZGVuaGlkZGVuaGlkZGVuaGlkZGVuaGlkZGVuaGk=",),
    )

    assert "hidden" not in repr(settings)
    assert "aGlkZGVu" not in repr(settings)


def test_an_unknown_setting_is_an_error_with_a_suggestion() -> None:
    assert problems(isuer="x") == ["isuer: there is no such setting; is issuer meant?"]
    assert problems(zzzz="x") == ["zzzz: there is no such setting"]


def test_all_problems_are_told_together() -> None:
    told = problems(
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

    assert len(told) >= 14, told


@pytest.mark.parametrize(
    ("values", "said"),
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
        ({"embedded_worker": 5}, "type bool"),
        ({"oauth_path": "/account"}, "account_path and oauth_path are both '/account'"),
    ],
)
def test_a_wrong_setting_is_told_with_its_fix(values: dict[str, object], said: str) -> None:
    assert said in "\n".join(problems(**values))


def test_every_limit_that_cannot_be_read_stops_the_start() -> None:
    limits = [one.name for one in fields(Settings) if one.name.endswith("_limit")]

    with pytest.raises(SettingsError) as told:
        Valetkey(Flask("app"), **dict.fromkeys(limits, "often"))

    assert [line.partition(":")[0] for line in str(told.value).splitlines()] == limits
    assert "100/minute" in str(told.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:9000", "[::1]:1"])
def test_plain_http_is_for_loopback(host: str) -> None:
    assert not Settings(issuer=f"http://{host}").is_production


def test_the_first_source_wins_and_texts_are_read_by_type() -> None:
    settings = read_settings(
        ("", {"sign_up": "false", "encryption_keys": ""}),
        ("VALETKEY_", {"sign_up": "true", "access_token_lifetime": "60", "scopes": '{"a": "See a"}'}),
    )

    assert (settings.sign_up, settings.access_token_lifetime, settings.scopes) == (False, 60, {"a": "See a"})
    assert settings.encryption_keys == ()


def test_what_kubernetes_injects_is_no_setting() -> None:
    environment = {
        "VALETKEY_ISSUER": "x",
        "VALETKEY_PORT": "tcp://10.0.0.1:80",
        "VALETKEY_PORT_80_TCP": "x",
        "VALETKEY_SERVICE_HOST": "10.0.0.1",
        "VALETKEY_APP": "a:b",
        "PATH": "/bin",
    }

    assert environment_values(environment) == {"issuer": "x"}
