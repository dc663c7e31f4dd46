"""The Compose files, without an engine: they fit the services' settings, the local region and their own examples."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from imaging_native.ehr_standin.settings import EhrSettings
from imaging_native.mailbox import MailboxSettings
from imaging_native.region import HOSPITALS, ORGANISATION, OUTSIDE, PACS_HOSPITALS
from imaging_native.story.deployed import DeployedRegion
from imaging_operate.secrets import create_secrets
from imaging_operate.settings import RegionSettings
from imaging_operate.setup.settings import SetupSettings

HERE = Path(__file__).parents[1]
CENTRE = ("dicom-ingest", "object-writer", "indexer", "gateway", "consult", "notification", "audit")
EDGES = [f"edge-agent-{hospital}" for hospital in HOSPITALS]


def load(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((HERE / name).read_text("utf-8")))


SERVICES: dict[str, dict[str, Any]] = load("compose.yaml")["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"].startswith("${IMAGE_PREFIX:-imaging-cloud}/")}


def settings_of(service: str) -> type[Any]:
    kinds = {
        "ehr": EhrSettings,
        "mailbox": MailboxSettings,
        "region": RegionSettings,
        "setup": SetupSettings,
        "story": DeployedRegion,
    }
    if service in kinds:
        return kinds[service]
    package = "edge_agent" if service.startswith("edge-agent") else service.replace("-", "_")
    module = importlib.import_module(f"{package}.settings")
    (kind,) = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and getattr(one, "model_config", {}).get("env_prefix") == f"{package.upper()}_"
    ]
    return kind


def secret_folder(service: str) -> str:
    return {"ehr": "ehr-residents", "region": "operate"}.get(service, service)


@pytest.mark.parametrize("service", sorted(name for name, one in OURS.items() if "environment" in one))
def test_every_variable_is_a_setting_of_its_service(service: str) -> None:
    kind = settings_of(service)
    prefix = kind.model_config["env_prefix"]
    known = {f"{prefix}{field.upper()}" for field in kind.model_fields}
    assert OURS[service]["environment"].keys() - known == set()


@pytest.mark.parametrize("service", [*CENTRE, *EDGES, "ehr", "mailbox", "region"])
def test_secrets_are_files_that_region_secrets_makes(service: str, tmp_path: Path) -> None:
    create_secrets(tmp_path / "s", list(HOSPITALS), [ORGANISATION], demo=True)
    place = secret_folder(service)
    assert f"${{SECRETS:-./secrets}}/{place}:/run/secrets:ro" in SERVICES[service]["volumes"]
    for value in SERVICES[service]["environment"].values():
        if str(value).startswith("/run/secrets/"):
            assert (tmp_path / "s" / place / Path(value).name).is_file(), value
    assert not any("password" in name.lower() or "secret" in name.lower() for name in SERVICES[service]["environment"])


def test_operators_can_ask_every_service_how_it_is() -> None:
    assert list(json.loads(SERVICES["region"]["environment"]["REGION_SERVICES"])) == [
        "gateway",
        *(name for name in CENTRE if name != "gateway"),
    ]


def test_hospitals_are_those_of_the_local_region() -> None:
    wanted = [
        {"hospital": name, "tier": "distributed" if name in PACS_HOSPITALS else "central", **names}
        for name, names in (HOSPITALS | OUTSIDE).items()
    ]
    assert json.loads((HERE / "hospitals.json").read_text("utf-8")) == wanted
    assert json.loads(SERVICES["setup"]["environment"]["SETUP_HOSPITALS"]) == list(HOSPITALS)
    assert [name for name in SERVICES if name.startswith("edge-agent-")] == EDGES


@pytest.mark.parametrize("service", sorted(OURS))
def test_our_containers_can_write_nothing_but_volumes(service: str) -> None:
    one = OURS[service]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in one["security_opt"]


@pytest.mark.parametrize("service", sorted(SERVICES.keys() - {"setup"}))
def test_everything_that_stays_has_a_limit_of_memory(service: str) -> None:
    assert SERVICES[service]["deploy"]["resources"]["limits"]["memory"]


def test_hospital_is_reached_by_nobody_else() -> None:
    for hospital in HOSPITALS:
        inside = {name for name, one in SERVICES.items() if f"hospital-{hospital}" in (one.get("networks") or {})}
        assert inside <= {f"edge-agent-{hospital}", f"pacs-{hospital}", "story"}
    for name in EDGES:
        assert "centre" not in SERVICES[name]["networks"], "an edge agent comes to the doors, not to the servers"


@pytest.mark.parametrize(
    ("file", "example"), [("compose.yaml", ".env.example"), ("compose.edge.yaml", "edge.env.example")]
)
def test_every_variable_with_a_default_is_in_the_example(file: str, example: str) -> None:
    used = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", (HERE / file).read_text("utf-8")))
    shown = set(re.findall(r"^#?([A-Z_]+)=", (HERE / example).read_text("utf-8"), re.MULTILINE))
    assert used - shown == set()


def test_a_hospital_needs_one_container() -> None:
    assert list(load("compose.edge.yaml")["services"]) == ["edge-agent"]


def test_files_that_are_mounted_exist() -> None:
    for one in SERVICES.values():
        for volume in one.get("volumes", []):
            if volume.startswith("."):
                assert (HERE / volume.split(":")[0]).exists(), volume
