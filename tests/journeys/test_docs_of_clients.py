"""docs/clients.md says what the policies say, and its commands run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from tests.journeys.checkout import PROJECT_DIR
from tests.support.valetkey_server import Deployment
from valetkey.protocol.client_policy import CLIENT_POLICIES, DEVICE_CODE_GRANT_TYPE

PAGE = (PROJECT_DIR / "docs" / "clients.md").read_text()
COMMANDS = [
    shlex.split(block.replace("\\\n", " "))
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
]
ROWS = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", PAGE, re.MULTILINE))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    made = Deployment(tmp_path_factory.mktemp("clients"))
    made.run("init")
    key = ECKey.generate_key("P-256").as_dict(private=False)
    (made.data_dir / "robot.jwks.json").write_text(json.dumps({"keys": [key]}))
    return made


def test_the_table_has_each_policy_as_it_is() -> None:
    assert ROWS.keys() == CLIENT_POLICIES.keys()
    for policy in CLIENT_POLICIES.values():
        _, methods, grant_types, demanded = ROWS[policy.name].split(" | ")
        assert re.findall(r"`(\w+)`", methods) == list(policy.auth_methods)
        named = [name or DEVICE_CODE_GRANT_TYPE for name in re.findall(r"`(\w+)`|device code", grant_types)]
        assert named == [*policy.default_grant_types, *policy.optional_grant_types]
        assert ("PKCE" in demanded and "without PKCE" not in demanded) == (
            policy.pkce_required and "authorization_code" in policy.default_grant_types
        )
        assert ("asked each time" in demanded) == policy.always_prompt_for_consent


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_its_commands_run(deployment: Deployment, command: list[str]) -> None:
    assert command[0] == "valetkey"
    told = json.loads(deployment.run(*command[1:], "--json"))
    assert told.get("client_id") or told.get("initial_access_token")


def test_every_policy_that_a_command_can_give_has_one() -> None:
    shown = {command[command.index("--policy") + 1] for command in COMMANDS}
    assert shown == CLIENT_POLICIES.keys() - {"agent"}, "an agent is a document at a URL"


def test_its_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert (Path(PROJECT_DIR) / "docs" / link).exists(), link
