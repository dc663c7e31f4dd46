"""`region setup`: what it is told, and how it fails."""

import json
from typing import Any

import pytest
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError
from typer.testing import CliRunner

from imaging_operate.cli import app
from imaging_operate.setup import command, mongo, run
from imaging_operate.setup.settings import SetupSettings
from imaging_operate.topology import DATABASES


async def test_servers_without_an_address_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    async def set_up(_: SetupSettings) -> str:
        return "ready"

    for name in ("_kafka", "_mongo", "_minio", "_keycloak"):
        monkeypatch.setattr(run, name, set_up)
    await run.run_setup(SetupSettings(minio_endpoint="minio:9000"), done.append)
    assert done == ["MinIO: ready"]


async def test_server_that_does_not_answer_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "RETRY_SECONDS", 0)
    answers = [ServerSelectionTimeoutError("away"), ServerSelectionTimeoutError("away"), "ready"]

    async def set_up(_: SetupSettings) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(run, "_mongo", set_up)
    done: list[str] = []
    settings = SetupSettings.model_validate({"mongo_url": "mongodb://nobody"})
    await run.run_setup(settings, done.append)
    assert done == ["MongoDB: ready"]
    answers[:] = [ServerSelectionTimeoutError("away")]
    with pytest.raises(run.SetupFailed, match=r"MongoDB did not answer for -1 s: ServerSelectionTimeoutError away"):
        await run.run_setup(settings.model_copy(update={"wait_seconds": -1}), done.append)


def test_command_names_the_setting_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command
    monkeypatch.setenv("SETUP_KAFKA_REPLICATION", "three")
    wrong = CliRunner().invoke(app, ["setup"])
    assert (wrong.exit_code, "SETUP_KAFKA_REPLICATION" in wrong.output) == (2, True)
    monkeypatch.delenv("SETUP_KAFKA_REPLICATION")
    nothing = CliRunner().invoke(app, ["setup"])
    assert (nothing.exit_code, "no server has an address" in nothing.output) == (1, True)


class Admin:
    """MongoDB's database `admin`, in memory."""

    def __init__(self) -> None:
        self.users: dict[str, tuple[str, str]] = {}

    def command(self, what: Any, name: str = "", pwd: str = "", roles: Any = ()) -> dict[str, Any]:
        if what == "createUser" and name in self.users:
            raise OperationFailure("exists", mongo.USER_EXISTS)
        if what not in ("createUser", "updateUser"):
            raise OperationFailure(f"no such command: {what}", 59)
        self.users[name] = (pwd, json.dumps(roles))
        return {"ok": 1}


def test_user_that_exists_gets_the_password_that_is_given() -> None:
    client: Any = type("Client", (), {"admin": Admin()})()
    mongo.ensure_users(client, dict.fromkeys(DATABASES, "old"))
    rights = {name: roles for name, (_, roles) in client.admin.users.items()}
    mongo.ensure_users(client, dict.fromkeys(DATABASES, "new"))
    assert client.admin.users == {name: ("new", roles) for name, roles in rights.items()}
    assert json.loads(rights["gateway"]) == [
        {"role": "readWrite", "db": "gateway"},
        {"role": "read", "db": "index"},
    ]


async def test_new_member_is_asked_directly_and_not_as_one_of_its_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    class Client(Admin):
        def __init__(self, url: str, **options: Any) -> None:
            super().__init__()
            self.admin = self
            asked.append(options)

        def command(self, what: Any, name: str = "", pwd: str = "", roles: Any = ()) -> dict[str, Any]:
            return {"ok": 1, "isWritablePrimary": True}

        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(run, "_mongo_client", Client)
    given = {"mongo_url": "mongodb://root@mongodb/?replicaSet=rs0", "mongo_replica_set": "rs0/mongodb:27017"}
    done: list[str] = []
    await run.run_setup(SetupSettings.model_validate(given), done.append)
    assert asked == [{"directConnection": True, "replicaSet": None}, {}]
    assert done == ["MongoDB: 0 users with their rights"]
