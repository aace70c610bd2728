"""``valetkey clients update``, and ``valetkey users show``, ``update`` and ``remove``."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.user import CALLBACK, EMAIL, PASSWORD, User
from tests.support.valetkey_server import Deployment, RunningServer
from tests.support.web_app import WebApp

SETTINGS = {
    "scopes": {"profile": "See your name", "groups": "See your groups"},
    "scope_claims": {"groups": ["groups"]},
}


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    deployment = Deployment(tmp_path, settings=SETTINGS)
    deployment.run("init")
    deployment.create_user(EMAIL, PASSWORD)
    return deployment


@pytest.fixture
def server(deployment: Deployment) -> Iterator[RunningServer]:
    with RunningServer(deployment) as server:
        yield server


def run(deployment: Deployment, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command, which may fail."""
    command = deployment.command(*arguments)
    options = {"env": deployment.environment, "cwd": deployment.data_dir, "check": False, "timeout": 60}
    return subprocess.run(command, input=stdin, capture_output=True, text=True, **options)  # type: ignore[call-overload,no-any-return]


def show_client(deployment: Deployment, client_id: str) -> dict[str, object]:
    return dict(json.loads(deployment.run("clients", "show", client_id, "--json")))


def show_user(deployment: Deployment, user: str) -> dict[str, object]:
    return dict(json.loads(deployment.run("users", "show", user, "--json")))


def test_a_change_of_a_client_is_shown_and_made_only_after_the_answer_yes(deployment: Deployment) -> None:
    client_id = deployment.create_client("web", name="Shop", redirect_uris=[CALLBACK])["client_id"]
    update = ("clients", "update", client_id, "--name", "Store", "--redirect-uri", "https://store.example/back")
    before = show_client(deployment, client_id)

    refused = run(deployment, *update, stdin="n\n")

    assert refused.returncode == 1
    assert "client_name: Shop -> Store" in refused.stderr
    assert f'redirect_uris: ["{CALLBACK}"] -> ["https://store.example/back"]' in refused.stderr
    assert "Users who allowed it are asked for consent again." in refused.stderr
    assert "Its name was Shop." in refused.stderr
    assert show_client(deployment, client_id) == before

    assert run(deployment, *update, stdin="y\n").returncode == 0
    after = show_client(deployment, client_id)
    assert after == {**before, "client_name": "Store", "redirect_uris": ["https://store.example/back"]}


@pytest.mark.parametrize("keeps_consents", [False, True])
def test_users_are_asked_again_after_a_new_name_unless_consents_are_kept(
    deployment: Deployment, server: RunningServer, keeps_consents: bool
) -> None:
    app = WebApp.register(deployment)
    with User(EMAIL, PASSWORD) as user:
        user.allow(app.authorization_url())
        keep = ["--keep-consents"] if keeps_consents else []
        deployment.run("clients", "update", app.client_id, "--name", "Store", "--yes", *keep)

        page = user._http.get(app.authorization_url())

    assert ("/consent/" in page.headers["location"]) is not keeps_consents


def test_an_unknown_client_or_user_is_reported_before_any_question(deployment: Deployment) -> None:
    for command in (
        ("clients", "update", "nobody", "--name", "Store"),
        ("clients", "remove", "nobody"),
        ("users", "update", "nobody@example.com", "--name", "Ada"),
        ("users", "remove", "nobody@example.com"),
    ):
        failed = run(deployment, *command, stdin="")
        assert failed.returncode == 1
        assert re.search("unknown (client|user) nobody", failed.stderr), failed.stderr
        assert "[y/N]" not in failed.stderr + failed.stdout


def test_an_invalid_change_lists_every_problem_and_changes_nothing(deployment: Deployment) -> None:
    client_id = deployment.create_client("web", name="Shop", redirect_uris=[CALLBACK])["client_id"]
    before = show_client(deployment, client_id)

    failed = run(deployment, "clients", "update", client_id, "--redirect-uri", "ftp://x", "--scope", "root", "--yes")

    assert failed.returncode == 1
    assert "redirect URI 'ftp://x'" in failed.stderr
    assert "unknown scope: root" in failed.stderr
    assert show_client(deployment, client_id) == before


def test_an_empty_text_removes_a_value_and_a_flag_changes_one(deployment: Deployment) -> None:
    client_id = deployment.create_client("web", name="Shop", redirect_uris=[CALLBACK])["client_id"]
    options = ["--uri", "https://app.example/", "--claims-in-id-token", "--introspection", "any"]
    deployment.run("clients", "update", client_id, *options, "--yes")
    changed = show_client(deployment, client_id)
    assert (changed["client_uri"], changed["claims_in_id_token"], changed["introspection"]) == (
        "https://app.example/",
        True,
        "any",
    )

    deployment.run("clients", "update", client_id, "--uri", "", "--no-claims-in-id-token", "--yes")

    changed = show_client(deployment, client_id)
    assert "client_uri" not in changed
    assert changed["claims_in_id_token"] is False


def test_a_user_is_shown_changed_and_removed(deployment: Deployment, server: RunningServer) -> None:
    app = WebApp.register(deployment)
    with User(EMAIL, PASSWORD) as user:
        user.allow(app.authorization_url())
    shown = show_user(deployment, EMAIL)
    assert (shown["email_verified"], shown["sessions"], shown["apps"]) == (False, 1, [app.client_id])

    claims = deployment.data_dir / "claims.json"
    claims.write_text(json.dumps({"groups": ["admins"], "given_name": "Maya"}))
    deployment.run("users", "update", EMAIL, "--verified", "--name", "Maya M.", "--claims", str(claims), "--yes")
    shown = show_user(deployment, EMAIL)
    assert (shown["email_verified"], shown["name"]) == (True, "Maya M.")
    assert shown["claims"] == {"groups": ["admins"], "given_name": "Maya"}

    deployment.run("users", "update", EMAIL, "--email", "maya@new.example", "--yes")
    assert show_user(deployment, "maya@new.example")["email_verified"] is False

    removed = run(deployment, "users", "remove", "maya@new.example", stdin="y\n")
    assert removed.returncode == 0
    assert "its consents (1 apps)" in removed.stderr
    assert run(deployment, "users", "show", "maya@new.example").returncode == 1


def test_the_address_of_another_account_and_an_invalid_one_are_refused(deployment: Deployment) -> None:
    deployment.create_user("other@example.com", PASSWORD)

    for address, problem in (
        ("OTHER@example.com", "There is already an account"),
        ("nobody", "Enter an e-mail address"),
    ):
        failed = run(deployment, "users", "update", EMAIL, "--email", address, "--yes")
        assert failed.returncode == 1
        assert problem in failed.stderr
    assert show_user(deployment, EMAIL)["email"] == EMAIL


def test_a_plan_that_the_operator_sets_needs_no_approval(tmp_path: Path) -> None:
    plans = {"free": {"limit": "60/minute"}, "pro": {"limit": "600/minute", "approval": "manual"}}
    deployment = Deployment(tmp_path, settings={"plans": plans, "default_plan": "free"})
    deployment.run("init")
    client_id = deployment.create_client("web", name="Shop", redirect_uris=[CALLBACK])["client_id"]

    changed = json.loads(deployment.run("plans", "set", client_id, "pro", "--json"))

    assert changed == {"client_id": client_id, "plan": "pro"}


def test_the_message_says_how_to_remove_the_resources_of_introspection(deployment: Deployment) -> None:
    client_id = deployment.create_client("machine", name="Gateway")["client_id"]
    update = ("clients", "update", client_id, "--yes", "--introspection")
    deployment.run(*update, "resource", "--introspection-resource", "https://api.example.com")

    refused = run(deployment, *update, "own")

    assert refused.returncode == 1
    assert "introspection_resources names https://api.example.com: to remove them, add --introspection-resource ''" in (
        refused.stderr
    )
    deployment.run(*update, "own", "--introspection-resource", "")
    assert "introspection_resources" not in show_client(deployment, client_id)
