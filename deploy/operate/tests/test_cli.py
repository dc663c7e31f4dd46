"""`region` without servers: help, settings, errors as one line with an exit code."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imaging_operate import cli, servers
from imaging_operate.settings import load

STATE = {
    "portal": "http://portal",
    "ingest": "http://ingest",
    "consult": "http://consult",
    "notification": "http://notification",
    "audit": "http://audit",
    "edges": {"community": {"http": "http://edge"}},
    "kafka": {"bootstrap": "127.0.0.1:1", "users": {"admin": "secret-of-kafka"}},
    "mongo": {"url": "mongodb://127.0.0.1:1/?directConnection=true"},
    "minio": {"endpoint": "127.0.0.1:1", "access_key": "root", "secret_key": "secret-of-minio"},
}
COMMANDS = ("status", "hospitals", "studies", "retrieve", "replay", "reconcile", "audit", "backup", "restore", "index")
runner = CliRunner()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "region.json"
    path.write_text(json.dumps(STATE))
    return path


@pytest.fixture(autouse=True, scope="module")
def groups() -> None:
    cli.load_groups()


def test_every_command_has_help() -> None:
    told = runner.invoke(cli.app, ["--help"])
    assert told.exit_code == 0
    assert all(command in told.output for command in COMMANDS)
    for command in COMMANDS:
        assert runner.invoke(cli.app, [command, "--help"]).exit_code == 0


def test_a_state_file_tells_where_the_servers_are(state: Path) -> None:
    settings = load(state)
    assert settings.kafka_bootstrap == "127.0.0.1:1"
    assert settings.services["gateway"] == "http://portal"
    assert settings.services["edge-agent-community"] == "http://edge"
    assert "secret-of" not in repr(settings)


def test_a_file_that_is_none_is_wrong_use(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    told = runner.invoke(cli.app, ["hospitals", "--state", str(other)])
    assert told.exit_code == 2
    assert "is not the file of a running region" in told.output.replace("\n", " ")
    assert runner.invoke(cli.app, ["hospitals", "--state", str(tmp_path / "none")]).exit_code == 2


def test_a_server_that_does_not_answer_is_one_line(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "SELECTION_MS", 50)
    told = runner.invoke(cli.app, ["hospitals", "--state", str(state)])
    assert told.exit_code == 1
    assert "MongoDB" in told.output
    assert "Traceback" not in told.output


def test_backups_say_what_they_need(state: Path, tmp_path: Path) -> None:
    for words in (["verify", str(tmp_path)], ["verify", str(tmp_path), "--backup", "20200101T000000Z"]):
        told = runner.invoke(cli.app, ["backup", *words, "--state", str(state)])
        assert told.exit_code == 1
        assert "there is no finished backup" in told.output.replace("\n", " ")
    listed = runner.invoke(cli.app, ["backup", "list", str(tmp_path), "--json", "--state", str(state)])
    assert json.loads(listed.output) == []


def test_a_rebuild_wants_to_be_typed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "SELECTION_MS", 50)
    assert runner.invoke(cli.app, ["index", "rebuild", "--state", str(state)]).exit_code == 1
