"""A region's secrets as files: made once, the same for both sides, and only what a service needs."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.settings import Settings as EdgeSettings
from gateway.settings import GatewaySettings
from imaging_common.tls import names_of_pem
from imaging_operate import secrets, secrets_command
from imaging_operate.cli import app
from imaging_operate.secrets import create_secrets, renew_certificates
from imaging_operate.settings import RegionSettings
from imaging_operate.setup.settings import SetupSettings

HOSPITALS, ORGANISATIONS = ["community", "tcm"], ["residents"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create_secrets(tmp_path / "secrets", HOSPITALS, ORGANISATIONS, demo=True)
    return tmp_path / "secrets"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_second_run_changes_nothing(folder: Path) -> None:
    before = contents(folder)
    create_secrets(folder, HOSPITALS, ORGANISATIONS, demo=True)
    assert contents(folder) == before


def test_hospital_that_comes_later_gets_secrets_and_nobody_else_new_ones(folder: Path) -> None:
    before = contents(folder)
    create_secrets(folder, [*HOSPITALS, "tertiary"], ORGANISATIONS, demo=True)
    after = contents(folder)
    changed = {name for name, text in before.items() if after[name] != text}
    assert changed == {"setup/setup_kafka_users", "setup/setup_realm_variables"}
    for name in changed:
        assert json.loads(before[name]).items() <= json.loads(after[name]).items()
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"edge-agent-tertiary", "authority"}


def test_folder_is_its_owners_alone_and_a_mounted_part_is_readable(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "gateway").stat().st_mode & 0o777 == 0o755
    assert (folder / "gateway" / "gateway_kafka_password").stat().st_mode & 0o777 == 0o644
    assert (folder / "authority").stat().st_mode & 0o077 == 0


def test_services_and_set_up_read_the_same_secrets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGING_SECRETS", str(folder / "setup"))
    setup = SetupSettings()
    monkeypatch.setenv("IMAGING_SECRETS", str(folder / "gateway"))
    gateway = GatewaySettings()
    monkeypatch.setenv("IMAGING_SECRETS", str(folder / "edge-agent-tcm"))
    for name, value in (
        ("HOSPITAL", "tcm"),
        ("AE_TITLE", "TCM"),
        ("INGEST_URL", "https://ingest"),
        ("SPOOL_DIR", "/s"),
    ):
        monkeypatch.setenv(f"EDGE_AGENT_{name}", value)
    edge = EdgeSettings()  # type: ignore[call-arg]
    variables = setup.variables()
    assert gateway.kafka_password == setup.kafka_users["gateway"]
    assert gateway.operations_kafka_password == setup.kafka_users["operations"]
    assert gateway.oidc_client_secret.get_secret_value() == variables["PORTAL_CLIENT_SECRET"]
    assert setup.mongo_users["gateway"].get_secret_value() in gateway.mongo_url
    assert gateway.mongo_url.startswith("mongodb://gateway:")
    assert (gateway.minio_access_key, gateway.minio_secret_key) == setup.minio_users["gateway"]
    assert edge.kafka_password == setup.kafka_users["edge-tcm"]
    assert edge.oidc_client_secret.get_secret_value() == variables["EDGE_TCM_CLIENT_SECRET"]
    assert (folder / "people" / "doctor.tcm").read_text() == variables["DOCTOR_TCM_PASSWORD"]


def test_outside_the_demonstration_only_the_operator_has_a_password(tmp_path: Path) -> None:
    create_secrets(tmp_path / "secrets", HOSPITALS, ORGANISATIONS)
    assert [path.name for path in (tmp_path / "secrets" / "people").iterdir()] == ["operator.region"]


def test_certificates_name_hospital_and_doors(folder: Path) -> None:
    names = names_of_pem((folder / "edge-agent-tcm" / "tls.pem").read_text())
    assert (names.hospital, names.ae_titles) == ("tcm", {"TCM"})
    assert (folder / "edge-agent-tcm" / "ca.pem").read_bytes() == (folder / "authority" / "ca.pem").read_bytes()


def test_only_certificates_that_end_soon_are_renewed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert renew_certificates(folder, HOSPITALS, {}) == []
    before = contents(folder)
    monkeypatch.setattr(secrets, "RENEW_BEFORE", timedelta(days=3650))
    assert renew_certificates(folder, ["tcm"], {}) == ["kafka", "dicom-ingest", "gateway", "edge-agent-tcm"]
    after = contents(folder)
    for place in ("gateway", "edge-agent-tcm"):
        assert after[f"{place}/tls.pem"] != before[f"{place}/tls.pem"]
        assert after[f"{place}/ca.pem"] == before[f"{place}/ca.pem"], "the authority stays"
    assert after["edge-agent-community/tls.pem"] == before["edge-agent-community/tls.pem"]


def test_commands_say_where_things_are(tmp_path: Path) -> None:
    assert secrets_command
    command = ["secrets", "--folder", str(tmp_path / "s"), "--hospital", "tcm", "--organisation", "residents"]
    made = CliRunner().invoke(app, command)
    assert (made.exit_code, "people's passwords in" in made.output) == (0, True)
    good = CliRunner().invoke(app, ["certificates", "--folder", str(tmp_path / "s"), "--hospital", "tcm"])
    assert good.output == "all are good for more than a month\n"


def test_operators_command_has_what_the_set_up_has(folder: Path) -> None:
    files = {path.name.removeprefix("region_"): path.read_text() for path in (folder / "operate").iterdir()}
    assert files.keys() <= RegionSettings.model_fields.keys()
    assert files == {name: (folder / "setup" / f"setup_{name}").read_text() for name in files}
