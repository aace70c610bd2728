"""docs/clients.md: its table matches the policies, and its commands run."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from joserfc.jwk import ECKey

from tests.journeys.checkout import PROJECT_DIR
from tests.support.valetkey_server import Deployment
from valetkey.protocol.client_policy import CLIENT_POLICIES, DEVICE_CODE_GRANT_TYPE

PAGE = (PROJECT_DIR / "docs" / "clients.md").read_text()
NAME_APP, *BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(block.replace("\\\n", " ")) for block in BLOCKS]
ROWS = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", PAGE, re.MULTILINE))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    deployment = Deployment(tmp_path_factory.mktemp("clients"))
    deployment.run("init")
    key = ECKey.generate_key("P-256").as_dict(private=False)
    (deployment.data_dir / "robot.jwks.json").write_text(json.dumps({"keys": [key]}))
    return deployment


def test_the_table_describes_each_policy_correctly() -> None:
    assert ROWS.keys() == CLIENT_POLICIES.keys()
    for policy in CLIENT_POLICIES.values():
        _, methods, grant_types, requirements = ROWS[policy.name].split(" | ")
        assert re.findall(r"`(\w+)`", methods) == list(policy.auth_methods)
        named = [name or DEVICE_CODE_GRANT_TYPE for name in re.findall(r"`(\w+)`|device code", grant_types)]
        assert named == [*policy.default_grant_types, *policy.optional_grant_types]
        assert ("PKCE" in requirements and "without PKCE" not in requirements) == (
            policy.pkce_required and "authorization_code" in policy.default_grant_types
        )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_on_the_page_runs(deployment: Deployment, command: list[str]) -> None:
    assert command[0] == "valetkey"
    output = json.loads(deployment.run(*command[1:], "--json"))
    assert output.get("client_id") or output.get("initial_access_token")


def test_a_device_is_registered_with_the_grant_type_of_rfc_8628(deployment: Deployment) -> None:
    (command,) = [command for command in COMMANDS if "device_code" in command]
    client_id = json.loads(deployment.run(*command[1:], "--json"))["client_id"]

    shown = json.loads(deployment.run("clients", "show", client_id, "--json"))

    assert shown["grant_types"] == [DEVICE_CODE_GRANT_TYPE, "refresh_token"]
    with pytest.raises(AssertionError, match=f"does not allow the grant type device, but .*{DEVICE_CODE_GRANT_TYPE}"):
        deployment.run(*(word.replace("device_code", "device") for word in command[1:]))


def test_the_page_begins_with_the_variable_that_names_the_app() -> None:
    assert NAME_APP == "export VALETKEY_APP=app.py\n"


def test_there_is_a_command_for_every_policy() -> None:
    policies = {command[command.index("--policy") + 1] for command in COMMANDS}
    assert policies == CLIENT_POLICIES.keys() - {"agent"}, "agents have a metadata document, not a command"
