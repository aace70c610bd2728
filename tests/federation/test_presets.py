"""GitHub, GitLab, Microsoft, Apple and Google: what is different with each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.support.app import MakeApp
from tests.support.browser_client import CALLBACK, Browser
from tests.support.clock import Clock
from tests.support.fake_provider import CLIENT_ID, CLIENT_SECRET, FakeProvider
from tests.support.provider_sign_in import ProviderBrowser, browser_of, list_accounts
from valetkey import Apple, GitHub, GitLab, Google, Microsoft
from valetkey.authorization_server.clients.service import register_client
from valetkey.runtime import Runtime
from valetkey.settings import provider_presets
from valetkey.settings.providers import SignInProvider

TENANT = "11111111-2222-3333-4444-555555555555"


@pytest.fixture
def github(provider: FakeProvider) -> FakeProvider:
    """A GitHub Enterprise Server with one user."""
    provider.pages = {
        "/login/oauth/access_token": (200, {"access_token": "gho_1", "scope": "user", "token_type": "bearer"}),
        "/api/v3/user": (200, {"id": 583231, "login": "ada", "name": None, "avatar_url": "https://p.example/1.png"}),
        "/api/v3/user/emails": (
            200,
            [
                {"email": "old@example.org", "primary": False, "verified": True},
                {"email": "Ada@example.org", "primary": True, "verified": True},
            ],
        ),
    }
    return provider


@pytest.fixture
def github_app(make_app: MakeApp, sqlite_store_url: str, github: FakeProvider) -> Flask:
    return make_app(sqlite_store_url, sign_in_with=[GitHub(CLIENT_ID, CLIENT_SECRET, url=github.url)])


def test_github_signs_in_the_user_of_its_api_with_the_primary_address(github_app: Flask, github: FakeProvider) -> None:
    browser = browser_of(github_app, github, "github")
    begun = browser.begin(next="/device")
    query = parse_qs(urlsplit(begun.location).query)
    assert begun.location.startswith(f"{github.url}/login/oauth/authorize?")
    assert query["code_challenge_method"] == ["S256"] and "nonce" not in query

    response = browser.finish({"code": "c", "state": query["state"][0]})

    assert response.location == "/device"
    (account,) = list_accounts(github_app)
    assert (account.email, account.name) == ("ada@example.org", "ada")
    assert account.email_verified_at is not None
    (form,) = [form for path, form in github.requests if path == "/login/oauth/access_token"]
    assert (form["client_id"], form["client_secret"]) == (CLIENT_ID, CLIENT_SECRET)
    assert len(form["code_verifier"]) == 43


@pytest.mark.parametrize(("path", "status"), [("/login/oauth", 303), ("", 400), ("/login", 400)])
def test_the_iss_of_github_is_that_of_its_oauth_server(
    github_app: Flask, github: FakeProvider, path: str, status: int
) -> None:
    browser = browser_of(github_app, github, "github")
    state = parse_qs(urlsplit(browser.begin().location).query)["state"][0]

    assert browser.finish({"code": "c", "state": state, "iss": f"{github.url}{path}"}).status_code == status


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("/login/oauth/access_token", (200, {"error": "bad_verification_code"})),
        ("/login/oauth/access_token", (200, {"token_type": "bearer"})),
        ("/api/v3/user", (401, {})),
        ("/api/v3/user", (200, {"id": "583231"})),
        ("/api/v3/user", (200, [])),
        ("/api/v3/user", (200, {"id": 10**1000})),
        ("/api/v3/user/emails", (404, {})),
        ("/api/v3/user/emails", (200, {})),
        ("/api/v3/user/emails", (200, [None, {"primary": True}])),
        ("/api/v3/user/emails", (200, [{"email": "\uff41da@example.org", "primary": True, "verified": True}])),
        ("/api/v3/user/emails", (200, [{"email": "no address", "primary": True, "verified": True}])),
    ],
)
def test_an_answer_of_github_that_cannot_be_used_stores_nothing(
    github_app: Flask, github: FakeProvider, path: str, reply: tuple[int, object]
) -> None:
    github.pages[path] = reply
    browser = browser_of(github_app, github, "github")
    state = parse_qs(urlsplit(browser.begin().location).query)["state"][0]

    response = browser.finish({"code": "c", "state": state})

    assert response.status_code == 400
    assert list_accounts(github_app) == []


def test_an_address_that_github_has_not_verified_does_not_count_as_verified(
    github_app: Flask, github: FakeProvider
) -> None:
    github.pages["/api/v3/user/emails"] = (200, [{"email": "a@example.org", "primary": True, "verified": False}])
    browser = browser_of(github_app, github, "github")
    state = parse_qs(urlsplit(browser.begin().location).query)["state"][0]

    browser.finish({"code": "c", "state": state})

    assert list_accounts(github_app)[0].email_verified_at is None


def sent_prompt(browser: ProviderBrowser, **fields: str) -> str | None:
    """Press the provider's button; return the ``prompt`` of the authorization request."""
    return dict(parse_qsl(urlsplit(browser.begin(**fields).location).query)).get("prompt")


@pytest.mark.parametrize(
    ("preset", "options", "prompt", "sent"),
    [
        ("google", {}, "login", "select_account"),
        ("google", {}, "login select_account", "select_account"),
        ("google", {"keep_tokens": True}, "login", "consent select_account"),
        ("google", {"keep_tokens": True}, None, "consent"),
        ("github", {}, "login", "select_account"),
        ("gitlab", {}, "login", "login"),
        ("gitlab", {}, "select_account", "login"),
        ("apple", {}, "login", None),
        ("openid", {}, "login", "login"),
        ("openid", {}, "login select_account", "login select_account"),
        ("openid", {}, "consent", None),
    ],
)
def test_a_provider_gets_only_values_of_prompt_that_it_supports(
    make_app: MakeApp,
    sqlite_store_url: str,
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    preset: str,
    options: dict[str, bool],
    prompt: str | None,
    sent: str | None,
) -> None:
    monkeypatch.setattr(provider_presets, "GOOGLE_ISSUER", provider.url)
    presets: dict[str, Callable[[], SignInProvider]] = {
        "google": lambda: Google(CLIENT_ID, CLIENT_SECRET, **options),  # type: ignore[arg-type]
        "github": lambda: GitHub(CLIENT_ID, CLIENT_SECRET, url=provider.url),
        "gitlab": lambda: GitLab(CLIENT_ID, CLIENT_SECRET, url=provider.url),
        "apple": lambda: Apple("org.example", team_id="T", key_id="K", private_key="-----BEGIN PRIVATE KEY-----"),
        "openid": lambda: provider.provider("OpenID"),
    }
    app = make_app(sqlite_store_url, sign_in_with=[presets[preset]()])
    runtime: Runtime = app.extensions["valetkey"]
    client = register_client(runtime, runtime.clock(), name="Shop", policy="web", redirect_uris=[CALLBACK])
    browser = browser_of(app, provider, preset)
    consent_url = urlsplit(Browser(browser.http, client).authorize(prompt=prompt).location).path

    assert sent_prompt(browser, next=consent_url) == sent


def test_prompts_that_the_metadata_of_a_provider_does_not_list_are_not_sent(
    app: Flask, browser: ProviderBrowser, provider: FakeProvider
) -> None:
    provider.metadata = {"prompt_values_supported": ["none", "login"]}
    browser.sign_in()

    assert sent_prompt(browser) == "login"


def test_gitlab_is_an_openid_provider_at_its_url(
    make_app: MakeApp, sqlite_store_url: str, provider: FakeProvider
) -> None:
    app = make_app(sqlite_store_url, sign_in_with=[GitLab(CLIENT_ID, CLIENT_SECRET, url=provider.url)])

    assert browser_of(app, provider, "gitlab").sign_in().status_code == 303
    assert list_accounts(app)[0].email_verified_at is not None


@pytest.fixture
def directory(clock: Clock) -> Iterator[FakeProvider]:
    """Microsoft's provider of one directory."""
    with FakeProvider(clock, path=f"/{TENANT}/v2.0") as provider:
        provider.claims = {"tid": TENANT}
        yield provider


def test_an_address_of_microsoft_never_counts_as_verified(
    make_app: MakeApp, sqlite_store_url: str, directory: FakeProvider
) -> None:
    microsoft = Microsoft(TENANT, CLIENT_ID, CLIENT_SECRET, authority=directory.url, sign_up=[TENANT])
    app = make_app(sqlite_store_url, sign_in_with=[microsoft])

    assert browser_of(app, directory, "microsoft").sign_in(email_verified=True).status_code == 303
    assert list_accounts(app)[0].email_verified_at is None


@pytest.mark.parametrize("tenant", ["common", "organizations", "consumers", "example.com", ""])
def test_microsoft_needs_the_id_of_one_directory(tenant: str) -> None:
    assert "tenant must be the id of one directory" in " ".join(Microsoft(tenant, "a", "b").problems())


@pytest.fixture
def apple(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """Apple's provider."""
    with FakeProvider(clock, path="/auth") as provider:
        monkeypatch.setattr(provider_presets, "APPLE_ISSUER", provider.url)
        provider.claims = {"iss": provider.url, "name": None, "email_verified": "true"}
        yield provider


def test_apple_gets_a_signed_client_secret_and_posts_its_response(
    make_app: MakeApp, sqlite_store_url: str, apple: FakeProvider, clock: Clock
) -> None:
    key = ECKey.generate_key("P-256")
    apple.accepts_client = lambda form: (
        jwt.decode(form["client_secret"], key).claims
        == {"iss": "TEAM", "iat": int(clock()), "exp": int(clock()) + 300, "aud": apple.url, "sub": "org.example"}
        and form["client_id"] == "org.example"
    )
    apple.claims["aud"] = "org.example"
    private_key = key.as_pem(private=True).decode()
    setting = Apple("org.example", team_id="TEAM", key_id="KEY", private_key=private_key)
    assert private_key not in repr(setting)
    app = make_app(sqlite_store_url, sign_in_with=[setting])
    browser = browser_of(app, apple, "apple")
    begun = browser.begin()
    assert parse_qs(urlsplit(begun.location).query)["response_mode"] == ["form_post"]
    answer = apple.answer(begun.location)
    del answer["iss"]

    user = json.dumps({"name": {"firstName": "Ada", "lastName": "Lovelace"}, "email": "victim@example.org"})
    posted = app.test_client().post("/account/sign-in/apple/callback", data={**answer, "user": user})
    response = browser.http.get(posted.location)

    assert response.status_code == 303, response.text
    (account,) = list_accounts(app)
    assert (account.email, account.name) == ("ada@example.org", "Ada Lovelace")
    assert account.email_verified_at is not None


@pytest.mark.parametrize(
    ("claims", "is_verified"),
    [
        ({"email": "ada@gmail.com"}, True),
        ({"email": "ada@example.org", "hd": "example.org"}, True),
        ({"email": "ada@example.org"}, False),  # Google does not notice if the address is given to another person
        ({"email": "ada@gmail.com", "email_verified": False}, False),
    ],
)
def test_an_address_of_google_counts_as_verified_if_google_manages_it(
    make_app: MakeApp,
    sqlite_store_url: str,
    provider: FakeProvider,
    monkeypatch: pytest.MonkeyPatch,
    claims: dict[str, object],
    is_verified: bool,
) -> None:
    monkeypatch.setattr(provider_presets, "GOOGLE_ISSUER", provider.url)
    app = make_app(sqlite_store_url, sign_in_with=[Google(CLIENT_ID, CLIENT_SECRET)])

    browser_of(app, provider, "google").sign_in(**claims)

    assert (list_accounts(app)[0].email_verified_at is not None) == is_verified
