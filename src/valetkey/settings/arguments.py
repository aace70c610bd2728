"""Types of the keyword arguments of ``Valetkey`` and ``ResourceServer``, for editors and type checkers.

``Settings`` documents and checks them; a test compares names and types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from .plans import Plan
from .providers import SignInProvider


class SharedArguments(TypedDict, total=False):
    """Settings that both ``Valetkey`` and ``ResourceServer`` take."""

    site_name: str
    api_prefix: str
    protect_by_default: bool
    problem_details: bool
    request_ids: bool
    openapi_path: str | None
    docs_path: str | None
    api_version: str
    api_description: str
    redis_url: str | None
    data_dir: str
    clock_leeway: int
    rate_limit_fields: Literal["ietf", "legacy", "both", "off"]
    health_path: str | None
    readiness_path: str | None
    trusted_proxies: list[str] | tuple[str, ...]
    outbound_allowed_networks: list[str] | tuple[str, ...]
    outbound_ca_file: str | None
    log_level: str
    log_format: Literal["text", "json"]


class ValetkeyArguments(SharedArguments, total=False):
    """All settings of ``Valetkey`` but ``scopes``, which is a parameter of its own."""

    resource: str
    issuer: str
    scope_claims: Mapping[str, Sequence[str]]
    plans: Mapping[str, Plan]
    default_plan: str
    cors: Literal["registered", "any", "off"]
    max_body: str
    oauth_path: str
    endpoints_bypass_flask: bool
    account_path: str | None
    device_path: str | None
    personal_access_tokens_path: str | None
    personal_access_token_scopes: list[str] | tuple[str, ...]
    personal_access_token_api_scope: str | None
    llms_txt_path: str | None
    api_catalog: bool
    security_contact: str | None
    sign_in_url: str | None
    sign_up: bool
    sign_in_with: list[SignInProvider] | tuple[SignInProvider, ...]
    password_sign_in: bool
    database_url: str
    database_pooler: Literal["auto", "transaction", "session"]
    database_connections: int
    encryption_keys: list[str] | tuple[str, ...]
    id_token_lifetime: int
    access_token_lifetime: int
    authorization_code_lifetime: int
    device_code_lifetime: int
    refresh_token_lifetime: int
    personal_access_token_lifetime: int
    refresh_retry_window: int
    interaction_lifetime: int
    mail_link_lifetime: int
    session_lifetime: int
    sign_in_limit: str
    sign_in_address_limit: str
    sign_in_account_limit: str
    completed_sign_in_limit: str
    silent_authorization_limit: str
    user_limit: str
    mail_limit: str
    mail_address_limit: str
    sign_up_limit: str
    device_code_limit: str
    device_code_address_limit: str
    device_authorization_limit: str
    interaction_limit: str
    client_authentication_limit: str
    leak_report_limit: str
    token_limit: str
    introspection_limit: str
    revocation_limit: str
    userinfo_limit: str
    registration_limit: str
    registration_policy: Literal["", "closed", "approve", "open"]
    registration_profile: str | None
    baseline: Literal["bcp", "mcp"]
    private_use_schemes: list[str] | tuple[str, ...]
    unused_registration_days: int
    metadata_document_clients: Literal["", "off", "approve", "open"]
    embedded_worker: bool
    revocation_outage: Literal["refuse", "accept"]
    mail_url: str | None
    operator_mail: str | None
    audit_retention_days: int
    mail_from: str


class ResourceServerArguments(SharedArguments, total=False):
    """All settings of ``ResourceServer`` but ``resource``, which is a parameter of its own."""

    scopes: Mapping[str, str]
