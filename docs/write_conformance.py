"""Write docs/conformance.md from the tests in tests/conformance: ``python docs/write_conformance.py``.

The docstring of a file there begins with the name of its specification, the docstring of a test with the sections that
it tests. Tests in other folders, and what is not offered, are listed here.
"""

# ruff: noqa: E501  (a row of a table stays on its line)

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEAD = """# Conformance

Which requirements of each specification Valetkey meets, and the test that shows it. Each row is a test: the sections
that it tests, sometimes with a remark, and what must hold. Below is what is not offered and what is done differently,
with the reasons.

"""
A, R, P = "tests/authorization_server/test_", "tests/resource_server/test_", "tests/protocol/test_"

# Tests in other folders, by specification: section, file and name of the test.
ELSEWHERE: dict[str, list[tuple[str, str, str]]] = {
    "RFC 6749: The OAuth 2.0 Authorization Framework": [
        ("§2.3.1", f"{A}client_authentication.py", "test_a_client_may_send_its_secret_by_basic_or_in_the_form"),
        ("§2.3.1", f"{A}client_authentication.py", "test_client_id_and_secret_of_basic_are_form_decoded"),
        ("§2.3", f"{A}client_authentication.py", "test_two_authentication_methods_at_once_are_refused"),
        ("§2.3.1", f"{A}client_authentication.py", "test_guessing_secrets_is_limited_by_network"),
        ("§3.1, §3.2", f"{A}authorization_refusals.py", "test_a_parameter_sent_twice_is_refused"),
        (
            "§3.1.2.3",
            f"{A}authorization_refusals.py",
            "test_a_missing_redirect_uri_is_refused_if_several_are_registered",
        ),
        ("§3.1.2.4", f"{A}authorization_refusals.py", "test_an_unknown_client_is_refused_on_a_page_without_a_redirect"),
        ("§3.2", f"{A}hostile_parameters.py", "test_post_endpoints_accept_only_post"),
        ("§3.3", f"{A}code_flow.py", "test_a_request_without_scope_requests_the_whole_registered_scope"),
        ("§4.1.2", f"{A}code_refusals.py", "test_a_code_expires"),
        ("§4.1.2", f"{A}code_refusals.py", "test_a_code_used_twice_revokes_the_tokens_of_its_first_use"),
        ("§4.1.2.1", f"{A}authorization_refusals.py", "test_other_refusals_are_redirected_to_the_client"),
        ("§4.1.3", f"{A}code_refusals.py", "test_another_client_can_neither_redeem_nor_invalidate_a_code"),
        ("§4.4", f"{A}metadata_and_machines.py", "test_a_machine_gets_a_token_and_no_refresh_token"),
        ("§5.2", f"{A}client_authentication.py", "test_a_wrong_secret_is_refused_with_a_challenge"),
        ("§6", f"{A}refresh.py", "test_a_narrowed_scope_applies_to_one_access_token_only"),
        ("§6", f"{A}refresh.py", "test_a_refused_request_does_not_use_up_the_refresh_token"),
        ("§6", f"{A}refresh.py", "test_another_client_can_neither_use_nor_revoke_a_family"),
    ],
    "RFC 6750: Bearer Token Usage": [
        ("§2.1", f"{P}bearer.py", "test_the_bearer_scheme_is_case_insensitive"),
        ("§2.3", f"{R}forms_of_require_oauth.py", "test_a_token_in_the_query_or_the_body_is_ignored"),
        ("§3", f"{R}challenges.py", "test_an_invalid_token_gets_401_with_the_error"),
        ("§3.1", f"{R}challenges.py", "test_without_a_token_the_challenge_has_no_error"),
        ("§3.1", f"{R}challenges.py", "test_a_missing_scope_gets_403_with_the_name_of_the_scope"),
        ("§3.1", f"{R}challenges.py", "test_a_malformed_authorization_header_gets_400"),
        ("§3.1", f"{R}challenges.py", "test_an_expired_token_is_refused"),
    ],
    "RFC 7009: Token Revocation": [
        ("§2.1", f"{A}revocation.py", "test_revoking_either_token_revokes_the_other"),
        ("§2.1", f"{A}revocation.py", "test_a_client_cannot_revoke_the_token_of_another_client"),
        ("§2.1", f"{A}revocation.py", "test_a_public_client_can_revoke_with_its_client_id"),
        ("§2.2", f"{A}revocation.py", "test_revoking_twice_succeeds_and_writes_once"),
        ("§2.2", f"{A}hostile_parameters.py", "test_unknown_tokens_are_revoked_with_200_and_introspected_as_inactive"),
        ("§2.3", f"{A}hostile_parameters.py", "test_scripts_of_any_origin_may_call_the_endpoint"),
        ("§2.1: without a client", f"{A}personal_tokens.py", "test_the_bearer_can_revoke_a_personal_token"),
    ],
    "RFC 7636: Proof Key for Code Exchange": [
        ("§4.1", f"{P}pkce.py", "test_a_missing_malformed_or_wrong_code_verifier_is_refused"),
        ("§4.2", f"{P}pkce.py", "test_a_missing_malformed_or_non_s256_challenge_is_refused"),
        ("§4.6", f"{A}code_refusals.py", "test_a_code_is_valid_only_with_the_verifier_and_redirect_uri_of_its_request"),
        ("Appendix B", f"{P}pkce.py", "test_s256_matches_the_test_vector_of_appendix_b"),
    ],
    "RFC 7662: Token Introspection": [
        ("§2.1", f"{A}introspection.py", "test_introspection_requires_client_authentication"),
        ("§2.2", f"{A}introspection.py", "test_a_service_can_introspect_an_access_token_of_another_client"),
        ("§2.2", f"{A}introspection.py", "test_expired_and_used_tokens_are_not_active"),
        ("§2.2", f"{A}introspection.py", "test_a_forged_token_is_not_active"),
        ("§4", f"{A}introspection.py", "test_a_web_client_cannot_introspect_tokens_of_another_client"),
        ("§4", f"{A}introspection.py", "test_a_public_client_cannot_introspect"),
        ("§2.2: personal access tokens", f"{A}personal_tokens.py", "test_a_service_can_introspect_a_personal_token"),
        (
            "§4",
            f"{A}personal_tokens.py",
            "test_introspection_reports_the_token_of_a_disabled_owner_as_inactive_at_once",
        ),
    ],
    "RFC 8252: OAuth 2.0 for Native Apps": [
        ("§7.1", f"{P}uri.py", "test_a_private_use_scheme_with_a_dot_is_allowed_for_native_apps_only"),
        ("§7.3", f"{A}authorization_refusals.py", "test_a_loopback_redirect_uri_may_differ_in_its_port_only"),
        ("§7.3", f"{A}code_flow.py", "test_a_native_client_is_redirected_to_the_port_that_it_requested"),
        ("§8.3", "tests/resource_owner/test_consent_and_pages.py", "test_a_loopback_redirect_is_warned_about"),
        ("§8.6", f"{A}code_flow.py", "test_a_native_client_needs_consent_each_time"),
    ],
    "RFC 8414: OAuth 2.0 Authorization Server Metadata": [
        ("§2", f"{A}metadata_and_machines.py", "test_authlib_accepts_the_metadata"),
        ("§2", f"{A}metadata_and_machines.py", "test_every_endpoint_in_the_metadata_exists"),
    ],
    "RFC 9700: Best Current Practice for OAuth 2.0 Security": [
        (
            "§2.1",
            f"{A}authorization_refusals.py",
            "test_a_redirect_uri_that_differs_from_the_registered_one_is_never_redirected_to",
        ),
        ("§2.1.1", f"{P}pkce.py", "test_a_code_verifier_without_a_challenge_is_refused"),
        ("§2.1.2, §2.4", f"{A}metadata_and_machines.py", "test_unsupported_features_are_not_in_the_metadata"),
        ("§2.6", f"{A}authorization_refusals.py", "test_the_authorization_endpoint_sends_no_cors_headers"),
        ("§4.2.4, §4.16", "tests/resource_owner/test_consent_and_pages.py", "test_every_page_has_its_headers"),
        ("§4.3", f"{A}client_authentication.py", "test_credentials_in_the_query_are_ignored"),
        (
            "§4.5",
            "tests/races/test_codes.py",
            "test_of_200_simultaneous_redemptions_one_succeeds_and_the_others_revoke_its_tokens",
        ),
        ("§4.5", f"{A}code_refusals.py", "test_a_replay_without_the_verifier_does_not_revoke_the_tokens"),
        ("§4.7", "tests/resource_owner/test_consent_and_pages.py", "test_consent_is_bound_to_the_browser_that_began"),
        ("§4.9", f"{R}challenges.py", "test_a_token_for_another_resource_is_refused"),
        ("§4.11.2", "tests/accounts/test_accounts.py", "test_next_accepts_local_paths_only"),
        (
            "§4.11.2",
            "tests/security/test_redirects_of_strangers.py",
            "test_an_error_is_a_page_with_a_link_that_names_the_host",
        ),
        ("§4.12", f"{A}code_flow.py", "test_a_post_to_the_authorization_endpoint_is_redirected_to_get"),
        (
            "§4.13",
            f"{A}client_authentication.py",
            "test_a_spoofed_x_forwarded_for_does_not_evade_the_limit_on_guessing",
        ),
        (
            "§4.14.2",
            "tests/races/test_refresh_tokens.py",
            "test_without_a_retry_window_one_of_200_uses_succeeds_and_the_token_family_is_revoked",
        ),
        ("§4.15", f"{R}challenges.py", "test_a_client_credentials_token_has_no_user"),
    ],
}

# What is not offered: name, how metadata would show it (a member, or a member and a value), and the reason.
NOT_OFFERED: list[tuple[str, str, str]] = [
    ("Implicit and hybrid flows (Core §3.2, §3.3)", "response_types_supported=id_token", "they put tokens into URLs (RFC 9700 §2.1.2); the certification profile `Dynamic OP` requires them, so it is not met completely (Core §15.2)"),
    ("Password grant (RFC 6749 §4.3)", "grant_types_supported=password", "it shows the password to the app (RFC 9700 §2.4)"),
    ("PKCE method plain (RFC 7636 §4.2)", "code_challenge_methods_supported=plain", "it does not protect against an attacker who reads the request (RFC 9700 §2.1.1)"),
    ("Response modes fragment and web_message", "response_modes_supported=fragment", "no supported flow needs them (RFC 9700 §4.17)"),
    ("Request objects by value (Core §6.1, RFC 9101)", "request_object_signing_alg_values_supported", "refused as request_not_supported; not built yet"),
    ("Request objects by reference (Core §6.2)", "require_request_uri_registration", "refused as request_uri_not_supported; not built yet"),
    ("Pushed authorization requests (RFC 9126)", "pushed_authorization_request_endpoint", "not built yet"),
    ("Signed authorization responses (JARM)", "authorization_signing_alg_values_supported", "not built yet"),
    ("Rich authorization requests (RFC 9396)", "authorization_details_types_supported", "not built yet"),
    ("DPoP (RFC 9449)", "dpop_signing_alg_values_supported", "not built yet"),
    ("Mutual TLS (RFC 8705)", "tls_client_certificate_bound_access_tokens", "not built yet"),
    ("Token exchange (RFC 8693)", "grant_types_supported=urn:ietf:params:oauth:grant-type:token-exchange", "not built yet"),
    ("JWT bearer grant (RFC 7523 §2.1)", "grant_types_supported=urn:ietf:params:oauth:grant-type:jwt-bearer", "not built yet"),
    ("CIBA", "backchannel_authentication_endpoint", "not built yet"),
    ("Signed introspection (RFC 9701)", "introspection_signing_alg_values_supported", "not built yet"),
    ("Encrypted ID tokens and userinfo (Core §10.2)", "id_token_encryption_alg_values_supported", "both go to the client itself over TLS"),
    ("HS256 ID tokens (Core §10.1)", "id_token_signing_alg_values_supported=HS256", "they need the client secret in plain text, and only its digest is stored"),
    ("client_secret_jwt (Core §9)", "token_endpoint_auth_methods_supported=client_secret_jwt", "for the same reason"),
    ("Unsigned ID tokens", "id_token_signing_alg_values_supported=none", "a client cannot verify them"),
    ("Aggregated and distributed claims (Core §5.6.2)", "claim_types_supported=distributed", "all claims are the provider's own"),
    ("Claims in several languages (Core §5.2)", "claims_locales_supported", "an account has each claim once; claims_locales is accepted and has no effect"),
    ("Session management by iframe", "check_session_iframe", "browsers no longer send the cookie that the iframe needs"),
    ("Signed metadata (RFC 8414 §2.1, RFC 9728 §2.2)", "signed_metadata", "metadata comes from its own origin over TLS"),
]  # fmt: skip

# What is done differently: section and subject, then the behavior and its reason.
DIFFERENT: list[tuple[str, str]] = [
    ("Core §3.1.2.1, offline_access without prompt=consent", "a refresh token is issued if the client registered the grant type and the user allowed the scope, now or before"),
    ("Core §5.5, claims outside the requested scope", "need consent each time, because only consent to scopes is remembered; with prompt=none the error is consent_required"),
    ("Core §5.3, a token that was requested with resource", "is accepted by userinfo only if the issuer is one of the resources: a token is valid only for the requested resources (RFC 8707)"),
    ("Core §3.1.2.1, id_token_hint under a retired key", "is accepted for 30 days, so that sign-out works after a key rotation; after `valetkey keys rotate --emergency` no earlier key is accepted"),
    ("Core §8.1, the sector of a client that registered itself with the device code grant, or without a sector_identifier_uri for a loopback or private-use redirect URI", "is its client_id: everyone can register the redirect URI of another site, and such a client gets its tokens elsewhere"),
    ("Core §8.1, the access token of a pairwise client", "is opaque, because the client could read the public `sub` in a JWT"),
    ("Form Post §2, response_mode inside a request object", "has no effect: a request object is not read, and the refusal request_not_supported is sent in the query. So the certification profile `Form Post OP`, which sends form_post in one, is not met completely until request objects are supported"),
    ("Front-Channel Logout §2, a browser without scripts", "goes on to the client three seconds after all frames are loaded; with scripts, after three seconds at the latest"),
    ("Core §5.1, a claim of a host app whose type or format is wrong", "is omitted, and a warning is logged"),
    ("Core §3.1.2.1, PKCE", "is required of every client except those with the policy `oidc-compat`"),
    ("Discovery §2, WebFinger", "is not offered: relying parties are configured with their issuer"),
    ("RFC 7009 §2.1, a personal access token", "can be revoked without client authentication by anyone who has it: it belongs to no client"),
    ("RFC 8252 §8.6, prompt=none for a public client with a loopback or private-use redirect URI", "is answered with consent_required: another app on the device may listen at the redirect URI"),
]  # fmt: skip

# What no specification defines: where it is, and what it is.
EXTENSIONS: list[tuple[str, str]] = [
    ("metadata member `limits_endpoint`", "URL of the endpoint that tells a client its plan, limits and quota (`GET /oauth/limits`)"),
    ("metadata member `plan_endpoint`", "URL of the endpoint where a client asks for a plan; present if the setting `plans` is not empty"),
    ("authentication context class `urn:valetkey:acr:password`", "a sign-in with a password to one of Valetkey's own accounts"),
    ("`POST /oauth/report-leak`", "ends tokens and client secrets that somebody found; not in the metadata"),
]  # fmt: skip

SUITE = """
## Run the OpenID Foundation's conformance suite

The suite tests a deployment from outside. These of its plans apply: `oidcc-basic`, `oidcc-config`,
`oidcc-3rdparty-init` and those of RP-initiated, back-channel and front-channel logout; of `oidcc-dynamic`, the modules
that need neither the implicit flow nor `request_uri`; of `oidcc-formpost-basic`, the modules that send no request
object. `oidcc-basic` was run with no failed module. The steps of the other plans' modules were followed by hand.

Its relying parties do not use PKCE, so that they need the policy `oidc-compat`. `oidcc-basic` needs three clients: two
that authenticate with `client_secret_basic` (`client` and `client2` of the suite's configuration), and a third one with
`client_secret_post` (`client_secret_post`):

```sh
valetkey users create --email ada@example.org --claims ada.json --password-stdin < password
for method in client_secret_basic client_secret_basic client_secret_post; do
  valetkey clients create --name Suite --policy oidc-compat --auth-method $method --json \\
    --redirect-uri https://suite.example/test/a/valetkey/callback
done
```

Each logout plan needs a client of its own, because a client that is registered for several kinds of logout is notified by
all of them. Give each plan another alias, here `rp-logout`, `back-logout` and `front-logout`:

```sh
valetkey clients create --name "RP-initiated" --policy oidc-compat --json \\
  --redirect-uri https://suite.example/test/a/rp-logout/callback \\
  --post-logout-redirect-uri https://suite.example/test/a/rp-logout/post_logout_redirect
valetkey clients create --name "Back-channel" --policy oidc-compat --json \\
  --redirect-uri https://suite.example/test/a/back-logout/callback \\
  --post-logout-redirect-uri https://suite.example/test/a/back-logout/post_logout_redirect \\
  --backchannel-logout-uri https://suite.example/test/a/back-logout/backchannel_logout
valetkey clients create --name "Front-channel" --policy oidc-compat --json \\
  --redirect-uri https://suite.example/test/a/front-logout/callback \\
  --post-logout-redirect-uri https://suite.example/test/a/front-logout/post_logout_redirect \\
  --frontchannel-logout-uri https://suite.example/test/a/front-logout/frontchannel_logout
```

Or let them register themselves: set `VALETKEY_REGISTRATION_POLICY=open` and
`VALETKEY_REGISTRATION_PROFILE=oidc-compat`. If the suite is not on the internet, set
`VALETKEY_OUTBOUND_ALLOWED_NETWORKS` to its network and `VALETKEY_OUTBOUND_CA_FILE` to the certificate authority of its
certificate. The suite controls its browser with the commands in `browser`; the ids are those of [pages.md](pages.md), and the
alias in the addresses is that of the plan:

```json
[
  {
    "match": "https://id.example/oauth/authorize*",
    "tasks": [
      {
        "task": "Sign in",
        "optional": true,
        "match": "https://id.example/account/sign-in*",
        "commands": [
          ["text", "id", "email", "ada@example.org"],
          ["text", "id", "password", "the password"],
          ["click", "id", "sign-in"]
        ]
      },
      {
        "task": "Consent",
        "optional": true,
        "match": "https://id.example/oauth/consent/*",
        "commands": [["click", "id", "allow"]]
      },
      {
        "task": "Go on to a client that registered itself, after an error",
        "optional": true,
        "match": "https://id.example/oauth/authorize*",
        "commands": [["click", "id", "continue", "optional"]]
      },
      {
        "task": "Come back",
        "match": "*/test/a/valetkey/callback*",
        "commands": [["wait", "id", "submission_complete", 10]]
      }
    ]
  },
  {
    "match": "https://id.example/oauth/logout*",
    "tasks": [
      {
        "task": "Confirm",
        "optional": true,
        "match": "https://id.example/oauth/logout*",
        "commands": [["click", "id", "log-out", "optional"]]
      },
      {
        "task": "Go on to a client that registered itself",
        "optional": true,
        "match": "https://id.example/oauth/logout*",
        "commands": [["click", "id", "continue", "optional"]]
      }
    ]
  }
]
```

A module that must end on a page of Valetkey needs other commands, which `override` has by the module's name: wait for the
page and take the screenshot that the suite asks for. These are needed: an error page at an unregistered redirect URI, and
logouts that do not lead back to the client.

```json
{
  "override": {
    "oidcc-ensure-registered-redirect-uri": {
      "browser": [
        {
          "match": "https://id.example/oauth/authorize*",
          "tasks": [
            {
              "task": "Error page",
              "match": "https://id.example/oauth/authorize*",
              "commands": [["wait", "xpath", "//*", 10, "This request cannot go on", "update-image-placeholder"]]
            }
          ]
        }
      ]
    },
    "oidcc-rp-initiated-logout-bad-post-logout-redirect-uri": {
      "browser": [
        {
          "match": "https://id.example/oauth/logout*",
          "tasks": [
            {
              "task": "Error page",
              "match": "https://id.example/oauth/logout*",
              "commands": [["wait", "xpath", "//*", 10, "This request cannot go on", "update-image-placeholder"]]
            }
          ]
        }
      ]
    },
    "oidcc-rp-initiated-logout-no-params": {
      "browser": [
        {
          "match": "https://id.example/oauth/logout*",
          "tasks": [
            {
              "task": "Confirm",
              "match": "https://id.example/oauth/logout*",
              "commands": [["click", "id", "log-out"]]
            },
            {
              "task": "Signed out",
              "match": "https://id.example/oauth/logout/confirm*",
              "commands": [["wait", "xpath", "//*", 10, "You are signed out", "update-image-placeholder"]]
            }
          ]
        }
      ]
    }
  }
}
```

`-query-added-to-post-logout-redirect-uri`, `-bad-id-token-hint` and `-modified-id-token-hint` need the commands of
`-bad-post-logout-redirect-uri`; `-no-post-logout-redirect-uri` and `-only-state` those of `-no-params`. An override replaces
all of `browser`, so each also needs the commands of the sign-in, in front of its own.
"""


def text() -> str:
    """Return the page.

    :raises LookupError: if a test in ``ELSEWHERE`` does not exist.
    """
    parts = [HEAD]
    for name, rows in sorted(_rows().items()):
        parts.append(f"## {name}\n\n| section | requirement and test |\n|---|---|\n{''.join(rows)}\n")
    parts.append("## Not offered\n\n| feature | reason |\n|---|---|\n")
    parts += [f"| {feature} | {reason} |\n" for feature, _, reason in NOT_OFFERED]
    parts.append("\n## Done differently\n\n| section | behavior and reason |\n|---|---|\n")
    parts += [f"| {section} | {behavior} |\n" for section, behavior in DIFFERENT]
    parts.append("\n## Extensions\n\n| extension | what it is |\n|---|---|\n")
    parts += [f"| {extension} | {meaning} |\n" for extension, meaning in EXTENSIONS]
    parts.append(SUITE)
    return "".join(parts)


def _rows() -> dict[str, list[str]]:
    """Return the table rows of each specification."""
    rows: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests/conformance").glob("test_*.py")):
        module = ast.parse(file.read_text())
        name = (ast.get_docstring(module) or "").partition("\n")[0].rstrip(".")
        if not name.startswith(("RFC ", "OpenID ", "OAuth ", "Client ")):
            continue
        path = f"tests/conformance/{file.name}"
        rows.setdefault(name, []).extend(_row(section, path, test) for test, section in _tests(module))
    for name, tests in ELSEWHERE.items():
        for section, path, test in tests:
            _check_exists(path, test)
            rows.setdefault(name, []).append(_row(section, path, test))
    return rows


def _tests(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Return the name of each test in a module, with the first paragraph of its docstring."""
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split()).rstrip(".")


def _row(section: str, path: str, test: str) -> str:
    sentence = test.removeprefix("test_").replace("_", " ")
    return f"| {section.replace('|', chr(92) + '|')} | [{sentence}](../{path}) |\n"


def _check_exists(path: str, test: str) -> None:
    if test not in dict(_tests(ast.parse((ROOT / path).read_text()))):
        raise LookupError(f"{path} has no {test}. Correct ELSEWHERE in docs/write_conformance.py.")


if __name__ == "__main__":
    Path(__file__).with_name("conformance.md").write_text(text())
