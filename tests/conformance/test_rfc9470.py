"""RFC 9470: OAuth 2.0 Step Up Authentication Challenge Protocol."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from flask import Flask, jsonify

from tests.conformance.relying_party import RelyingParty, register_relying_party
from tests.support.app import MakeApp
from tests.support.browser_client import redirect_parameters
from tests.support.clock import Clock
from valetkey import require_oauth
from valetkey.protocol.resource_owner import PASSWORD_ACR, Owner
from valetkey.web.texts import NO_SIGN_IN_PAGE

GOLD = "urn:example:acr:gold"


@pytest.fixture
def bank(provider: Flask, rp: RelyingParty) -> RelyingParty:
    """A relying party of an API with routes that require a recent sign-in or an acr value."""

    @provider.get("/api/recent")
    @require_oauth("profile", max_age=300)
    def recent() -> Any:
        return jsonify(ok=True)

    @provider.get("/api/gold")
    @require_oauth("profile", acr=f"{GOLD} urn:example:acr:silver", max_age=60)
    def gold() -> Any:
        return jsonify(ok=True)

    @provider.get("/api/password")
    @require_oauth("profile", acr=PASSWORD_ACR)
    def password() -> Any:
        return jsonify(ok=True)

    return rp


def test_a_sign_in_that_is_too_old_gets_401_with_max_age(bank: RelyingParty, clock: Clock) -> None:
    """§3: insufficient_user_authentication, max_age."""
    token = bank.obtain_tokens(scope="profile")["access_token"]
    assert bank.call(token, "/api/recent").status_code == 200
    clock.forward(seconds=301)

    refused = bank.call(token, "/api/recent")

    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
    assert 'error="insufficient_user_authentication"' in refused.headers["WWW-Authenticate"]
    assert 'max_age="300"' in refused.headers["WWW-Authenticate"]
    assert "acr_values" not in refused.headers["WWW-Authenticate"]
    assert refused.json["error"] == "insufficient_user_authentication"


def test_an_insufficient_acr_gets_401_with_the_accepted_values(bank: RelyingParty) -> None:
    """§3: acr_values in order of preference; a challenge may contain both parameters."""
    refused = bank.call(bank.obtain_tokens(scope="profile")["access_token"], "/api/gold")

    assert refused.status_code == 401
    assert f'acr_values="{GOLD} urn:example:acr:silver"' in refused.headers["WWW-Authenticate"]
    assert 'max_age="60"' in refused.headers["WWW-Authenticate"]
    assert bank.call(bank.obtain_tokens(scope="profile")["access_token"], "/api/password").status_code == 200


def test_a_route_without_these_requirements_accepts_an_old_sign_in(bank: RelyingParty, clock: Clock) -> None:
    """§3."""
    token = bank.obtain_tokens(scope="profile")["access_token"]
    clock.forward(seconds=301)

    assert bank.call(token).status_code == 200


def test_a_missing_scope_is_refused_before_an_old_sign_in(bank: RelyingParty, clock: Clock) -> None:
    """§3, RFC 6750 §3.1."""
    token = bank.obtain_tokens(scope="notes:read")["access_token"]
    clock.forward(seconds=301)

    assert bank.call(token, "/api/recent").status_code == 403


def test_an_authorization_request_with_the_challenges_values_gets_a_sufficient_token(
    bank: RelyingParty, clock: Clock
) -> None:
    """§4, §5."""
    bank.obtain_tokens(scope="profile")
    clock.forward(seconds=301)

    token = bank.obtain_tokens(scope="profile", max_age="300", acr_values=f"{GOLD} {PASSWORD_ACR}")["access_token"]

    assert bank.call(token, "/api/recent").status_code == 200


def test_the_token_and_introspection_contain_acr_and_auth_time(bank: RelyingParty, clock: Clock) -> None:
    """§6.1, §6.2: JWT and introspection."""
    token = bank.obtain_tokens(scope="profile")["access_token"]

    for claims in (bank.decode_jwt(token), bank.introspect(token).json):
        assert (claims["acr"], claims["auth_time"]) == (PASSWORD_ACR, int(clock.time))


def test_a_refresh_does_not_make_the_sign_in_more_recent(bank: RelyingParty, clock: Clock) -> None:
    """§6, RFC 9068 §2.2.1."""
    tokens = bank.obtain_tokens(scope="profile")
    clock.forward(seconds=301)

    token = bank.refresh(tokens["refresh_token"]).json["access_token"]

    assert bank.decode_jwt(token)["auth_time"] == int(clock.time) - 301
    assert bank.call(token, "/api/recent").status_code == 401


def test_a_client_credentials_token_never_satisfies_max_age(bank: RelyingParty, make_relying_party: Any) -> None:
    """§3."""
    machine_client = make_relying_party("machine", redirect_uris=[])
    token = machine_client.request_token("client_credentials", scope="profile").json["access_token"]

    assert machine_client.call(token, "/api/recent").status_code == 401


def test_metadata_contains_the_supported_acr_values(bank: RelyingParty) -> None:
    """§7: acr_values_supported."""
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        assert bank.get(path).json["acr_values_supported"] == [PASSWORD_ACR]


class StepUpHost:
    """A host app whose user is signed in with a password, and can sign in by another method."""

    def __init__(self) -> None:
        self.acr = PASSWORD_ACR
        self.sign_ins: list[tuple[bool, tuple[str, ...]]] = []

    def current(self) -> Owner | None:
        return Owner("ada", auth_time=1.0, acr=self.acr)

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        self.sign_ins.append((fresh, acr_values))
        return f"/login?next={quote(next)}"

    def find(self, sub: str) -> Owner | None:
        return Owner(sub)

    def claims(self, sub: str, scope: frozenset[str]) -> dict[str, Any]:
        return {}


@pytest.fixture
def host() -> StepUpHost:
    return StepUpHost()


@pytest.fixture
def stepping(make_app: MakeApp, sqlite_store_url: str, host: StepUpHost) -> RelyingParty:
    """A relying party to which the host's user has consented."""
    app = make_app(sqlite_store_url, resource_owner=host)
    party = register_relying_party(app)
    assert party.obtain_tokens(scope="openid profile")
    return party


def begin(party: RelyingParty, **changes: str) -> tuple[str, dict[str, str]]:
    """Send an authorization request; return the path of the page that follows, and the response to the client."""
    response = party.authorize(scope="openid profile", **changes)
    while (response.location or "").startswith("/oauth/consent/"):
        response = party.get(response.location)
    location = urlsplit(response.location)
    return location.path, dict(parse_qsl(location.query))


ESSENTIAL = json.dumps({"id_token": {"acr": {"essential": True, "values": [GOLD]}}})


@pytest.mark.parametrize(
    "wish", [{"acr_values": f"{GOLD} other"}, {"claims": ESSENTIAL}], ids=["voluntary", "essential"]
)
def test_a_user_with_another_acr_is_asked_to_sign_in_by_the_wanted_method(
    stepping: RelyingParty, host: StepUpHost, wish: dict[str, str]
) -> None:
    """§5: the consent alone would give a token that the API refuses again."""
    path, parameters = begin(stepping, **wish)

    assert path == "/login"
    fresh, acr_values = host.sign_ins[-1]
    assert fresh and acr_values[0] == GOLD
    host.acr = GOLD
    code = redirect_parameters(stepping.get(parameters["next"]))["code"]
    assert stepping.decode_jwt(stepping.redeem(code).json["id_token"])["acr"] == GOLD


@pytest.mark.parametrize(
    ("wish", "wanted"),
    [
        ({"claims": ESSENTIAL, "acr_values": PASSWORD_ACR}, GOLD),
        ({"claims": ESSENTIAL}, GOLD),
        ({"claims": json.dumps({"id_token": {"acr": {"value": GOLD}}})}, GOLD),
        ({"claims": json.dumps({"id_token": {"acr": {"value": GOLD}}}), "acr_values": "silver"}, "silver"),
        ({"claims": json.dumps({"id_token": {"acr": {"essential": True}}})}, "bronze"),
        ({}, "bronze"),
    ],
    ids=["essential before sent", "essential", "voluntary before default", "sent before voluntary", "any", "default"],
)
def test_an_individual_acr_overrides_the_clients_default_values(
    make_app: MakeApp, sqlite_store_url: str, host: StepUpHost, wish: dict[str, str], wanted: str
) -> None:
    """OpenID Connect Registration §2: default_acr_values."""
    members = {"default_acr_values": ["bronze"]}
    party = register_relying_party(make_app(sqlite_store_url, resource_owner=host), members=members)

    path, _ = begin(party, **wish)

    assert path == "/login"
    assert host.sign_ins == [(True, (wanted,))]


@pytest.mark.parametrize("value", ["a b", "a\r\nb", "a\tb", "\0", "\u202e", "", None, 5, True, "x" * 501], ids=repr)
def test_an_acr_in_claims_that_acr_values_cannot_contain_never_reaches_the_host(
    stepping: RelyingParty, host: StepUpHost, value: Any
) -> None:
    """OpenID Connect Core §3.1.2.1: ``acr_values`` is a list of values, separated by spaces."""
    claims = json.dumps({"id_token": {"acr": {"values": [value]}}})
    assert "code" in begin(stepping, claims=claims)[1]

    begin(stepping, claims=json.dumps({"id_token": {"acr": {"values": [value, GOLD, "y" * 490]}}}))

    assert host.sign_ins == [(True, (GOLD,))]


def test_a_user_who_cannot_sign_in_by_the_wanted_method_is_asked_once(stepping: RelyingParty, host: StepUpHost) -> None:
    """OpenID Connect Core §3.1.2.1: ``acr_values`` is voluntary."""
    _, parameters = begin(stepping, acr_values=GOLD)

    code = redirect_parameters(stepping.get(parameters["next"]))["code"]

    assert stepping.decode_jwt(stepping.redeem(code).json["id_token"])["acr"] == PASSWORD_ACR
    assert len(host.sign_ins) == 1


def test_an_essential_acr_is_refused_only_after_the_user_was_asked(stepping: RelyingParty) -> None:
    """§5, OpenID Connect Core §5.5.1.1."""
    _, parameters = begin(stepping, claims=ESSENTIAL)

    refused = redirect_parameters(stepping.get(parameters["next"]))

    assert refused["error"] == "unmet_authentication_requirements"


def test_prompt_none_never_asks_for_another_method(stepping: RelyingParty, host: StepUpHost) -> None:
    assert "code" in begin(stepping, prompt="none", acr_values=GOLD)[1]
    assert begin(stepping, prompt="none", claims=ESSENTIAL)[1]["error"] == "unmet_authentication_requirements"
    assert not host.sign_ins


def test_a_user_who_signs_in_for_the_request_is_not_asked_again(stepping: RelyingParty, host: StepUpHost) -> None:
    _, parameters = begin(stepping, acr_values=GOLD, prompt="consent")

    page = stepping.get(parameters["next"])
    answer = stepping.submit(parameters["next"], {"decision": "allow", "scope": ["openid", "profile"]})

    assert 'id="allow"' in page.text
    assert "code" in redirect_parameters(answer)
    assert len(host.sign_ins) == 1


def test_accounts_without_another_method_are_not_asked(rp: RelyingParty) -> None:
    rp.obtain_tokens(scope="openid profile")

    assert "code" in redirect_parameters(rp.authorize(scope="openid profile", acr_values=GOLD))


class HostWithoutSignInPage(StepUpHost):
    """A host app whose users are signed in by a proxy."""

    def sign_in_url(self, next: str, *, fresh: bool = False, acr_values: tuple[str, ...] = ()) -> str:
        raise LookupError("the proxy signs users in")


@pytest.mark.parametrize("resource_owner", [lambda: "ada", HostWithoutSignInPage()], ids=["function", "object"])
def test_a_host_app_without_a_sign_in_page_is_not_asked_for_another_method(
    make_app: MakeApp, sqlite_store_url: str, resource_owner: Any
) -> None:
    party = register_relying_party(make_app(sqlite_store_url, resource_owner=resource_owner))

    assert "code" in redirect_parameters(party.complete_authorization(scope="openid profile", acr_values=GOLD))
    assert "code" in begin(party, acr_values=GOLD)[1]
    assert begin(party, claims=ESSENTIAL)[1]["error"] == "unmet_authentication_requirements"


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_a_sign_in_that_is_required_for_another_reason_needs_the_page(
    make_app: MakeApp, sqlite_store_url: str, monkeypatch: pytest.MonkeyPatch, is_signed_in: bool
) -> None:
    host = HostWithoutSignInPage()
    if not is_signed_in:
        monkeypatch.setattr(host, "current", lambda: None)
    party = register_relying_party(make_app(sqlite_store_url, resource_owner=host))

    response = party.authorize(scope="openid profile", acr_values=GOLD, prompt="login")
    page = party.get(response.location)

    assert (page.status_code, NO_SIGN_IN_PAGE in page.text) == (400, True)


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        *(({"prompt": "login"}, None), ({"prompt": "select_account"}, None)),
        *(({"max_age": "60"}, "login_required"), ({"max_age": "0"}, "login_required")),
    ],
    ids=str,
)
def test_a_host_app_that_knows_only_when_the_session_began_is_asked_once(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock, parameters: dict[str, str], error: str | None
) -> None:
    """OpenID Connect Core §3.1.2.1, §2: an ID token after max_age contains auth_time, which is unknown."""

    class HostOfAnotherProvider(StepUpHost):
        session_began_at = 1.0

        def current(self) -> Owner | None:
            return Owner("ada", session_began_at=self.session_began_at)

    host = HostOfAnotherProvider()
    party = register_relying_party(make_app(sqlite_store_url, resource_owner=host))
    path, after_sign_in = begin(party, **parameters)
    assert (path, host.sign_ins) == ("/login", [(True, ())])
    clock.forward(seconds=5)
    host.session_began_at = clock.time

    page = party.get(after_sign_in["next"])

    if error:
        assert redirect_parameters(page)["error"] == error
    else:
        assert 'id="allow"' in page.text
        scopes = {"decision": "allow", "scope": ["openid", "profile"]}
        assert "code" in redirect_parameters(party.submit(after_sign_in["next"], scopes))
    assert len(host.sign_ins) == 1


@pytest.mark.parametrize("parameters", [{"prompt": "login"}, {"max_age": "0"}], ids=str)
def test_a_host_app_that_rounds_times_to_seconds_is_asked_once(
    make_app: MakeApp, sqlite_store_url: str, clock: Clock, parameters: dict[str, str]
) -> None:
    """OpenID Connect Core §3.1.2.1: a sign-in within the second of the request is a new one."""

    class RoundingHost(StepUpHost):
        auth_time = 1

        def current(self) -> Owner | None:
            return Owner("ada", auth_time=self.auth_time, acr=self.acr)

    host = RoundingHost()
    party = register_relying_party(make_app(sqlite_store_url, resource_owner=host))
    clock.time = int(clock.time) + 0.4
    path, after_sign_in = begin(party, **parameters)
    assert path == "/login"
    clock.forward(seconds=0.5)
    host.auth_time = int(clock.time)

    assert 'id="allow"' in party.get(after_sign_in["next"]).text

    clock.forward(seconds=1)
    assert begin(party, **parameters)[0] == "/login"
