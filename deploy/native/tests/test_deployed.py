"""The story against a deployed region finds what `region secrets` made, where Compose puts it."""

from pathlib import Path

import pytest

from imaging_native.region import HOSPITALS, USERS
from imaging_native.story import __main__ as command
from imaging_native.story import deployed
from imaging_native.story.browser import map_hosts
from imaging_operate.secrets import create_secrets


def test_state_has_everybody_of_the_region(tmp_path: Path) -> None:
    create_secrets(tmp_path / "secrets", list(HOSPITALS), ["residents"], demo=True)
    state = deployed.DeployedRegion(secrets=tmp_path / "secrets").state()
    assert state["users"].keys() == USERS.keys()
    assert all(user["password"] for user in state["users"].values())
    assert state["edges"].keys() == HOSPITALS.keys()
    assert (state["edges"]["tcm"]["host"], state["pacs"]["tcm"]["dicomweb"]) == ("edge-agent-tcm", "")
    assert state["kafka"]["users"]["ehr-residents"]
    assert state["issuer"] == "http://id.localhost:8180/realms/region"


def test_missing_secrets_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STORY_SECRETS", str(tmp_path))
    assert command.main() == 1
    assert "ehr_kafka_password" in (said := capsys.readouterr().out)
    assert said.endswith("STORY FAIL prepare the story\n")


def test_browser_finds_names_of_this_machine_elsewhere() -> None:
    assert map_hosts({}) == []
    hosts = {"portal.localhost": "gateway", "id.localhost": "keycloak"}
    assert map_hosts(hosts) == ["--host-resolver-rules=MAP portal.localhost gateway,MAP id.localhost keycloak"]
