"""Settings come from keywords, environment variables, ``app.config`` and defaults, in this order."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask

from valetkey import ResourceServer, Valetkey
from valetkey.settings import Settings, SettingsError
from valetkey.settings.environment import Environment, read_environment

RESOURCE = "https://api.example.com"
KUBERNETES_VARIABLES = (
    *("VALETKEY_SERVICE_HOST", "VALETKEY_SERVICE_PORT", "VALETKEY_SERVICE_PORT_HTTP", "VALETKEY_PORT"),
    *("VALETKEY_PORT_80_TCP", "VALETKEY_PORT_80_TCP_PROTO", "VALETKEY_DB_SERVICE_HOST", "VALETKEY_DB_PORT"),
    "VALETKEY_DB_PORT_5432_TCP_ADDR",
)


def settings_of(config: dict[str, Any] | None = None, **keywords: Any) -> Settings:
    app = Flask("app")
    app.config.update(config or {})
    Valetkey(app, embedded_worker=False, **keywords)
    settings: Settings = app.extensions["valetkey"].settings
    return settings


def resource_server_of(config: dict[str, Any] | None = None, **keywords: Any) -> Any:
    app = Flask("app")
    app.config.update(config or {})
    ResourceServer(app, **keywords)
    return app.extensions["valetkey"]


def test_a_keyword_precedes_the_environment_which_precedes_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = {"VALETKEY_SITE_NAME": "config", "VALETKEY_API_VERSION": "config"}
    assert settings_of(config).site_name == "config"

    monkeypatch.setenv("VALETKEY_SITE_NAME", "environment")

    assert settings_of(config).site_name == "environment"
    assert settings_of(config, site_name="keyword").site_name == "keyword"
    assert settings_of(config).api_version == "config"
    assert settings_of().api_version == "1"


def test_a_second_app_in_one_process_reads_variables_with_its_own_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALETKEY_SITE_NAME", "first")
    monkeypatch.setenv("SHOP_SITE_NAME", "second")

    assert settings_of().site_name == "first"
    assert settings_of(env_prefix="SHOP_").site_name == "second"
    assert settings_of(env_prefix=None).site_name == ""
    assert settings_of({"VALETKEY_SITE_NAME": "config"}, env_prefix=None).site_name == "config"


def test_a_resource_server_reads_the_environment_by_the_same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALETKEY_TRUSTED_ISSUERS", "https://a.example, https://b.example")
    monkeypatch.setenv("VALETKEY_RESOURCE", RESOURCE)
    monkeypatch.setenv("VALETKEY_SITE_NAME", "environment")
    monkeypatch.setenv("SHOP_RESOURCE", "https://shop.example")

    context = resource_server_of({"VALETKEY_RESOURCE": "https://config.example"})
    assert (list(context.issuers), context.settings.resource) == (["https://a.example", "https://b.example"], RESOURCE)
    assert context.settings.site_name == "environment"
    context = resource_server_of(trusted_issuers=["https://c.example"], resource="https://d.example", site_name="Mine")
    assert (list(context.issuers), context.settings.resource) == (["https://c.example"], "https://d.example")
    assert context.settings.site_name == "Mine"
    context = resource_server_of(trusted_issuers=["https://c.example"], env_prefix="SHOP_")
    assert (context.settings.resource, context.settings.site_name) == ("https://shop.example", "")
    with pytest.raises(SettingsError, match="trusted_issuers: must be a list"):
        resource_server_of(resource=RESOURCE, env_prefix=None)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("VALETKEY_ISSUER", "http://id.example.com", "uses http"),
        ("VALETKEY_SESSION_LIFETIME", "long", "whole number"),
        ("VALETKEY_SESSION_LIFETIME", "5", "between"),
        ("VALETKEY_TOKEN_LIMIT", "often", "token_limit"),
        ("VALETKEY_PERSONAL_ACCESS_TOKEN_API_SCOPE", "nothing", "not in scopes"),
        ("VALETKEY_PLANS", '{"free": {"scopes": "none"}}', "plans"),
        ("VALETKEY_TRUSTED_PROXIES", "everyone", "trusted_proxies"),
        ("VALETKEY_ENCRYPTION_KEYS", "c2hvcnQ=", "encryption_keys"),
    ],
)
def test_an_error_names_the_environment_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv(variable.replace("VALETKEY_", "SHOP_"), value)

    for prefix in ("VALETKEY_", "SHOP_"):
        with pytest.raises(SettingsError) as error:
            settings_of(env_prefix=prefix)
        assert words in str(error.value)
        assert variable.replace("VALETKEY_", prefix) in str(error.value)


def test_an_empty_variable_counts_as_not_set_unless_the_setting_can_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ISSUER", "DATABASE_URL", "DATA_DIR", "SESSION_LIFETIME", "TRUSTED_PROXIES", "SCOPES", "DOCS_PATH"):
        monkeypatch.setenv(f"VALETKEY_{name}", "")

    config = {"VALETKEY_DATABASE_URL": "postgresql://shop@db/shop", "VALETKEY_TRUSTED_PROXIES": ["10.0.0.0/8"]}
    settings = settings_of(config)

    assert (settings.database_url, settings.trusted_proxies) == ("postgresql://shop@db/shop", ("10.0.0.0/8",))
    assert (settings.data_dir, settings.session_lifetime) == (Settings().data_dir, Settings().session_lifetime)
    assert settings.has_default_issuer
    assert settings.docs_path is None


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///:memory:", "sqlite:///:memory:?cache=shared"])
def test_a_database_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"database_url must name a file, such as sqlite:////srv"):
        settings_of(database_url=url)


def test_an_error_names_the_variable_of_a_resource_server_and_the_configuration_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SettingsError, match=r'set by app\.config\["VALETKEY_RESOURCE"\]'):
        resource_server_of({"VALETKEY_RESOURCE": "http://api.example.com"}, trusted_issuers=["https://id.example.com"])
    monkeypatch.setenv("VALETKEY_TRUSTED_ISSUERS", "http://id.example.com")
    with pytest.raises(SettingsError, match="set by VALETKEY_TRUSTED_ISSUERS"):
        resource_server_of(resource=RESOURCE)


def test_variables_of_the_command_and_of_kubernetes_have_no_effect_and_are_not_reported() -> None:
    variables = dict.fromkeys((*KUBERNETES_VARIABLES, "VALETKEY_APP", "VALETKEY_TOKEN", "PATH"), "x")

    environment = read_environment({**variables, "VALETKEY_ISSUER": "y"}, "VALETKEY_", {"issuer"})

    assert environment == Environment("VALETKEY_", {"issuer": "y"})


def test_a_setting_whose_name_is_like_a_variable_of_kubernetes_is_read() -> None:
    environment = read_environment({"VALETKEY_SMTP_PORT": "25"}, "VALETKEY_", {"smtp_port"})

    assert environment.values == {"smtp_port": "25"}


def test_unknown_variables_are_reported_with_a_similar_name_and_without_their_value(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VALETKEY_DATABASE_ULR", "postgresql://user:hidden@db/x")
    monkeypatch.setenv("VALETKEY_ZZZZ", "hidden")
    monkeypatch.setenv("VALETKEY_Site_Name", "hidden")
    monkeypatch.setenv("VALETKEY_DATA_DIR", "var")

    with caplog.at_level(logging.WARNING, "valetkey"):
        settings_of()

    assert "VALETKEY_DATABASE_ULR: unknown setting; did you mean VALETKEY_DATABASE_URL?" in caplog.text
    assert "VALETKEY_Site_Name: unknown setting; did you mean VALETKEY_SITE_NAME?" in caplog.text
    assert "VALETKEY_ZZZZ: unknown setting" in caplog.text
    assert "hidden" not in caplog.text and "DATA_DIR" not in caplog.text


def test_other_variables_with_the_prefix_of_the_app_are_the_apps() -> None:
    variables = {"SHOP_CURRENCY": "EUR", "SHOP_ISUER": "x", "SHOP_SITE_NAME": "y"}

    environment = read_environment(variables, "SHOP_", {"issuer", "site_name"})

    assert environment.values == {"site_name": "y"}
    assert environment.unknown == ("SHOP_ISUER: unknown setting; did you mean SHOP_ISSUER?",)


def test_variables_with_the_longer_prefix_of_another_app_are_not_reported() -> None:
    variables = {"VALETKEY_ADMIN_ISSUER": "x"}
    read_environment(variables, "VALETKEY_ADMIN_", {"issuer"})

    assert read_environment(variables, "VALETKEY_", {"issuer"}).unknown == ()


def test_a_resource_server_reports_settings_that_only_an_authorization_server_has(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VALETKEY_ISSUER", "https://id.example.com")
    with caplog.at_level(logging.WARNING, "valetkey"):
        context = resource_server_of(trusted_issuers=["https://id.example.com"], resource=RESOURCE)

    assert context.sources.environment.other == ("VALETKEY_ISSUER",)
    assert "without effect on this app: VALETKEY_ISSUER" in caplog.text


def test_the_default_issuer_allows_nothing_that_needs_a_loopback_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    default = settings_of()
    assert (default.issuer, default.has_default_issuer, default.is_development) == (
        "http://127.0.0.1:8000",
        True,
        False,
    )
    assert (default.registration, default.metadata_documents, default.outbound_networks) == ("closed", "off", ())

    monkeypatch.setenv("VALETKEY_ISSUER", "http://127.0.0.1:8000")
    for settings in (
        settings_of(),
        settings_of(issuer="http://localhost:1", env_prefix=None),
        settings_of({"VALETKEY_ISSUER": "http://[::1]:5"}, env_prefix=None),
    ):
        assert settings.is_development and not settings.has_default_issuer
        assert (settings.registration, settings.metadata_documents) == ("open", "open")
        assert "127.0.0.0/8" in settings.outbound_networks
    public = settings_of(issuer="https://id.example.com")
    assert (public.registration, public.metadata_documents, public.outbound_networks) == ("closed", "off", ())
