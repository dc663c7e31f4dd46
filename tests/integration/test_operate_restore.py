"""A region is saved, and everything comes back in a new and empty one; then things are lost there, and found again."""

import asyncio
import hashlib
import json
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from pyrage import x25519

from imaging_common.events import ConsultAcknowledged, StudyChanged
from imaging_common.messaging.cloudevents import read_envelope, read_event
from imaging_common.objects.store import MinioObjectStore
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import read_all
from imaging_native import ct
from imaging_native.applications import IMPRESSION, Case, Person, application, of_study
from imaging_native.asking import parts, until
from imaging_native.distributed import ANY_FILE, fill_pacs
from imaging_native.region import ORGANISATION, Region
from imaging_native.session import portal_client
from imaging_operate.epochs import SKIPPED_CONSULTS, SKIPPED_EVENTS

SLICES = 3
CENTRE = ["dicom-ingest", "object-writer", "indexer", "gateway", "consult", "notification", "audit"]
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A study that a modality sent, and the digests of its files as the edge agent received them."""

    study_uid: str
    digests: frozenset[str]


@dataclass(frozen=True, slots=True)
class Saved:
    """What was in the first region, and where its backup lies."""

    studies: list[Arrived]
    case: Case
    target: Path
    identity: Path
    recipients: Path


async def operate(region: Region, *words: str, expected: int = 0) -> Any:
    """Call `region … --json` on a region; what it prints.

    Raises
    ------
    AssertionError
        It ended with another exit code.
    """
    state = region.folder / "region.json"
    state.write_text(json.dumps(region.state))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "imaging_operate", *words, "--json", "--state", str(state)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode == expected, (
        f"region {' '.join(words)}: {process.returncode}\n{out.decode()}{err.decode()}"
    )
    return json.loads(out) if out else err.decode()


async def arrive(region: Region, folder: Path) -> Arrived:
    """A study comes from a modality of the hospital without a PACS, and is packed."""
    seed = secrets.randbelow(10**9)
    series = await asyncio.to_thread(ct.write_series, folder / str(seed), slices=SLICES, seed=seed)
    await fill_pacs({**region.state["edges"]["community"], "dicomweb": ""}, series.files)
    arrived = Arrived(series.study_uid, frozenset())
    await until_archived(region, arrived)
    where = {"study_key": f"community/{series.study_uid}"}
    found = await region.client("root")["index"]["instances"].find(where, {"sha256": 1}).to_list()
    return Arrived(series.study_uid, frozenset(one["sha256"] for one in found))


async def files_of(doctor: httpx.AsyncClient, study_uid: str) -> set[str]:
    """The digests of a study's files as the portal gives them; none while it gives no study."""
    answer = await doctor.get(f"/dicomweb/studies/{study_uid}", headers={"Accept": ANY_FILE}, timeout=180)
    if answer.status_code != httpx.codes.OK:
        return set()
    return {hashlib.sha256(body).hexdigest() async for body in parts(answer)}


async def until_it_opens(doctor: httpx.AsyncClient, series: Arrived) -> None:
    """Wait until the portal gives every file that was received, byte for byte."""

    async def opens() -> bool:
        return series.digests <= await files_of(doctor, series.study_uid)

    await until(opens, f"the same bytes of {series.study_uid}")


async def document(region: Region, series: Arrived) -> dict[str, Any]:
    """The study in the index; empty while it is not there."""
    found = await region.client("root")["index"]["studies"].find_one({"_id": f"community/{series.study_uid}"})
    return found or {}


async def until_archived(region: Region, series: Arrived) -> None:
    """Wait until the index reads every instance from the archive; a consult's report lies beside the images."""

    async def archived() -> bool:
        study = await document(region, series)
        return bool(study and study["stored"] and study["instance_count"] >= SLICES)

    await until(archived, "the study in the archive")


def kafka_settings(region: Region, user: str) -> ServiceSettings:
    """To read topics as this Kafka user."""
    kafka = region.state["kafka"]
    return ServiceSettings(
        kafka_bootstrap=kafka["bootstrap"], kafka_username=user, kafka_password=SecretStr(kafka["users"][user])
    )


async def version_of(region: Region, series: Arrived) -> tuple[int, int]:
    """(epoch, n) of a study."""
    version = (await document(region, series))["version"]
    return version["epoch"], version["n"]


@pytest.fixture(scope="module")
async def source() -> AsyncIterator[Region]:
    """The region that is saved; not that of other tests, which lose things there."""
    async with Region(services=[*CENTRE, "edge-agent-community"]) as region:
        yield region


@pytest.fixture(scope="module")
async def saved(source: Region, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A region with two studies and a consult that was reported; its backup."""
    folder = tmp_path_factory.mktemp("saved")
    studies = [await arrive(source, folder) for _ in range(2)]
    async with (
        Person.signed_in(source, "doctor.community") as doctor,
        Person.signed_in(source, "expert.secondary") as expert,
    ):
        case = await doctor.apply(application(studies=[of_study(studies[0].study_uid, "community")]))
        case = await expert.to_issued(case)
    key = x25519.Identity.generate()
    recipients, identity, target = folder / "recipients", folder / "identity", folder / "backups"
    recipients.write_text(f"{key.to_public()}\n")
    identity.write_text(f"{key}\n")
    made = await operate(source, "backup", "make", str(target), "--recipients", str(recipients))
    assert made["objects"]["count"]["archive"] >= 4
    return Saved(studies, case, target, identity, recipients)


@pytest.fixture(scope="module")
async def restored(saved: Saved) -> AsyncIterator[Region]:
    """A new region into which the backup was put before its services began."""
    async with Region(services=[]) as region:
        done = await operate(region, "restore", str(saved.target), "--identity", str(saved.identity))
        assert done["documents"] > 0
        assert any("region reconcile" in line for line in done["gap"])
        again = await operate(region, "restore", str(saved.target), "--identity", str(saved.identity), expected=1)
        assert "not empty" in again
        await region.start_services([*CENTRE, "edge-agent-community"])
        yield region


@pytest.fixture(scope="module")
async def doctor(restored: Region) -> AsyncIterator[httpx.AsyncClient]:
    """A doctor signed in at the new region."""
    client = await portal_client(restored.state, "doctor.community")
    yield client
    await client.aclose()


async def test_a_backup_is_encrypted_incremental_and_whole(source: Region, saved: Saved) -> None:
    files = [path for path in saved.target.rglob("*") if path.is_file()]
    name = saved.studies[0].study_uid.encode()
    assert not [path for path in files if name in path.read_bytes() or name in str(path).encode()]
    assert (await operate(source, "backup", "verify", str(saved.target)))["whole"]
    opened = await operate(source, "backup", "verify", str(saved.target), "--identity", str(saved.identity))
    assert opened["whole"]
    before = set((saved.target / "objects").rglob("*.age"))
    second = await operate(source, "backup", "make", str(saved.target), "--recipients", str(saved.recipients))
    assert before <= set((saved.target / "objects").rglob("*.age"))
    victim = saved.target / second["id"] / "mongodb/index/studies.bson.zst.age"
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(bytes(data))
    broken = await operate(source, "backup", "verify", str(saved.target), "--backup", second["id"], expected=1)
    assert [problem for problem in broken["problems"] if "index/studies" in problem]
    victim.unlink()
    (saved.target / second["id"] / "manifest.json").unlink()


async def test_the_studies_open_with_the_same_bytes(restored: Region, saved: Saved, doctor: httpx.AsyncClient) -> None:
    for series in saved.studies:
        await until_it_opens(doctor, series)


async def test_the_consult_and_its_report_are_there(restored: Region, saved: Saved) -> None:
    async with Person.signed_in(restored, "doctor.community") as applicant:
        case = await applicant.read(saved.case["id"])
        assert case["state"] == "issued"
        answer = await applicant.client.get(f"/consults/{case['id']}/reports/1", headers=applicant.headers)
        assert answer.raise_for_status().json()["impression"] == IMPRESSION


async def test_the_audit_chains_hold_across_the_restore(restored: Region) -> None:
    found = await operate(restored, "audit", "verify")
    assert found["holds"]
    assert "0 chains are broken" in found["lines"][-1]


async def test_subscribers_hear_of_what_comes_later(restored: Region, saved: Saved, tmp_path: Path) -> None:
    series = await arrive(restored, tmp_path)
    settings = kafka_settings(restored, f"ehr-{ORGANISATION}")

    async def told() -> tuple[StudyChanged, int] | None:
        for record in await read_all(settings, f"ehr-{ORGANISATION}-events"):
            event = read_event(record, read_envelope(record))
            if isinstance(event, StudyChanged) and event.study_uid == series.study_uid and event.stored:
                return event, int(dict(record.headers)["ce_sequence"])
        return None

    statement, sequence = await until(told, "the EHR to hear of the new study")
    assert statement.version.epoch == 2, "later than whatever was said after the backup"
    assert sequence > SKIPPED_EVENTS, "greater than any number that was given after the backup"


async def test_a_restored_consult_goes_on_with_a_later_version(restored: Region, saved: Saved) -> None:
    async with Person.signed_in(restored, "doctor.community") as applicant:
        case = await applicant.read(saved.case["id"])
        await applicant.act(case, "acknowledge")
        fresh = await applicant.apply(application(studies=[of_study(saved.studies[0].study_uid, "community")]))
        assert int(fresh["number"][-4:]) > SKIPPED_CONSULTS, "forgotten cases of today keep theirs"
    settings = kafka_settings(restored, "notification")

    async def told() -> ConsultAcknowledged | None:
        events = [read_event(record, read_envelope(record)) for record in await read_all(settings, "consult-changed")]
        mine = [one for one in events if isinstance(one, ConsultAcknowledged) and one.consult_id == case["id"]]
        return mine[-1] if mine else None

    statement = await until(told, "the acknowledgement on its topic")
    assert statement.version.epoch == 2, "whoever knows steps that were made after the backup takes it for newer"


async def test_status_sees_everything(restored: Region) -> None:
    async def well() -> dict[str, Any] | None:
        found = await operate(restored, "status")
        return found if any(one["state"] == "online" for one in found["edges"]) else None

    found = await until(well, "the edge agent's heartbeat")
    assert found["well"]
    assert {one["name"] for one in found["services"]} == {*CENTRE, "edge-agent-community"}
    assert {one["group"] for one in found["readers"]} >= set(CENTRE) - {"dicom-ingest"}
    rows = await operate(restored, "hospitals")
    assert {one["hospital"] for one in rows} >= {"community", "tertiary"}
    assert next(one for one in rows if one["hospital"] == "community")["studies"] >= 2


async def test_names_are_shown_only_when_asked_for_and_that_is_recorded(restored: Region, saved: Saved) -> None:
    uid = saved.studies[0].study_uid
    (plain,) = await operate(restored, "studies", "show", uid)
    assert plain["lies_in"][0]["bucket"] == "archive"
    assert "patient_id" not in plain
    (named,) = await operate(restored, "studies", "show", uid, "--names")
    assert named["patient_id"] == ct.WANG.patient_id

    async def recorded() -> Any:
        where = {"record.source": "region studies", "record.study_uid": uid}
        return await restored.client("root")["audit"]["records"].find_one(where)

    await until(recorded, "the look in the audit record")


async def test_lost_documents_of_the_index_are_found_and_made_anew(
    restored: Region, saved: Saved, doctor: httpx.AsyncClient
) -> None:
    series, other = saved.studies
    index = restored.client("root")["index"]
    key = f"community/{series.study_uid}"
    before = await version_of(restored, series)
    await index["studies"].delete_one({"_id": key})
    await index["instances"].delete_one({"study_key": f"community/{other.study_uid}"})
    dry = await operate(restored, "reconcile", "--dry-run", expected=1)
    found = {(one["kind"], one["study_uid"]) for one in dry["found"]}
    assert {("study-missing", series.study_uid), ("rows-missing", other.study_uid)} <= found
    assert dry["said"] == 0
    mended = await operate(restored, "reconcile", "--wait", "60")
    assert mended["missing"] == []
    assert await version_of(restored, series) > before, "subscribers take it for news"
    for one in saved.studies:
        await until_it_opens(doctor, one)
    assert (await operate(restored, "reconcile", "--dry-run"))["found"] == []


async def test_a_lost_pack_is_sent_again_by_the_hospital(
    restored: Region, doctor: httpx.AsyncClient, tmp_path: Path
) -> None:
    series = await arrive(restored, tmp_path)
    key = f"community/{series.study_uid}"
    await remove_everything_of(restored, key)
    named = await operate(restored, "reconcile", "--dry-run", expected=1)
    lost = [one for one in named["found"] if one["kind"] == "object-missing" and one["study_uid"] == series.study_uid]
    assert sum(len(one["instances"]) for one in lost) == SLICES
    mended = await operate(restored, "reconcile", "--wait", "90")
    assert mended["missing"] == []

    await until_archived(restored, series)
    await until_it_opens(doctor, series)


async def test_the_index_is_built_again_from_nothing(restored: Region, saved: Saved, doctor: httpx.AsyncClient) -> None:
    before = {one.study_uid: await version_of(restored, one) for one in saved.studies}
    assert "stop all its copies" in await operate(restored, "index", "rebuild", "--yes", expected=1)
    await restored.processes["indexer"].stop()

    async def left() -> bool:
        groups = (await operate(restored, "status", expected=1))["readers"]
        return all(one["members"] == 0 for one in groups if one["group"] == "indexer")

    await until(left, "the indexer to have left its group")
    done = await operate(restored, "index", "rebuild", "--yes")
    assert done["epoch"] == 3
    await restored.restart("indexer")
    for one in saved.studies:
        await until_it_opens(doctor, one)
        assert await version_of(restored, one) > before[one.study_uid]

    await until_archived(restored, saved.studies[0])
    assert (await operate(restored, "reconcile", "--wait", "60"))["missing"] == []


async def remove_everything_of(region: Region, key: str) -> None:
    """A drive lost a study's packs, and staging with them."""
    minio = region.state["minio"]
    store = MinioObjectStore(
        ServiceSettings(
            minio_endpoint=minio["endpoint"],
            minio_access_key=minio["access_key"],
            minio_secret_key=SecretStr(minio["secret_key"]),
        )
    )
    for bucket in ("archive", "staging"):
        for entry in [entry async for entry in store.list(bucket, f"{key}/")]:
            await store.delete(bucket, entry.key)
