"""C-STORE for senders without an edge agent: 0x0000 only for what is staged, batches shared by associations."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pynetdicom import AE
from pynetdicom.association import Association

from dicom_ingest.errors import BadCallers
from dicom_ingest.main import accept_associations
from dicom_ingest.model import Callers
from dicom_ingest.settings import Settings
from dicom_ingest.usecases.store_instances import StoreInstances
from imaging_common.audit import AuditTrail
from imaging_common.errors import PublishFailed
from imaging_common.events import AuditRecorded, InstancesReceived
from imaging_common.messaging import FakePublisher
from imaging_common.objects.manifest import read_manifest
from imaging_common.objects.store import FakeObjectStore
from imaging_common.testing.waiting import until
from imaging_common.tls import client_context
from imaging_native import ct
from imaging_native.process import free_port
from imaging_operate.certificates import RegionCa

CT = "1.2.840.10008.5.1.4.1.1.2"
ECHO = "1.2.840.10008.1.1"


class Scp:
    """An SCP at work on fakes."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.store, self.publisher = FakeObjectStore(), FakePublisher()
        self.settings = Settings(
            scratch_dir=str(folder), dimse_port=free_port(), callers="CT1@127.0.0.1=community,CT2=secondary", **settings
        )
        audit = AuditTrail("dicom-ingest", self.publisher)
        self.store_instances = StoreInstances(self.store, self.publisher, audit)

    def associate(self, ae_title: str = "CT1") -> Association:
        ae = AE(ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
        ae.add_requested_context(CT)
        ae.add_requested_context(ECHO)
        return ae.associate("127.0.0.1", self.settings.dimse_port, ae_title="REGION")

    def send(self, files: list[Path], ae_title: str = "CT1") -> list[Dataset]:
        """Send over one association; the answers."""
        assoc = self.associate(ae_title)
        assert assoc.is_established
        answers = [assoc.send_c_store(path) for path in files]
        assoc.release()
        return answers

    def received(self) -> list[InstancesReceived]:
        return [e for e in self.publisher.events("instances-received") if isinstance(e, InstancesReceived)]


def arrived(scp: Scp) -> int:
    """Files that wait to be staged, or are being staged."""
    return len(list(Path(scp.settings.scratch_dir).glob("*/*.part")))


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.fixture
async def scp(tmp_path: Path) -> AsyncIterator[Scp]:
    scp = Scp(tmp_path)
    async with accept_associations(scp.settings, scp.store_instances):
        yield scp
    assert left_in(tmp_path) == []


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> ct.Series:
    return ct.write_series(tmp_path_factory.mktemp("dimse"), slices=6, seed=43)


async def test_instance_is_staged_when_acknowledged(scp: Scp, series: ct.Series) -> None:
    answers = await asyncio.to_thread(scp.send, list(series.files[:2]))
    assert [answer.Status for answer in answers] == [0, 0]
    assert [(e.hospital, e.study_uid, e.has_edge) for e in scp.received()] == [
        ("community", series.study_uid, False)
    ] * 2
    manifest = await read_manifest(scp.store, "staging", scp.received()[0].manifest_key)
    data = await scp.store.get("staging", manifest.data_key)
    assert dcmread(series.files[0]).PixelData in data


async def test_batches_are_shared_when_associations_are_many(scp: Scp, series: ct.Series) -> None:
    slow = asyncio.Event()
    put = scp.store.put

    async def held(bucket: str, key: str, data: bytes | Path) -> None:
        await slow.wait()
        await put(bucket, key, data)

    scp.store.put = held  # type: ignore[method-assign]
    sends = [asyncio.create_task(asyncio.to_thread(scp.send, [path])) for path in series.files[:4]]
    await until(lambda: arrived(scp) == len(sends), 20, "all arrived")
    slow.set()
    answers = await asyncio.gather(*sends)
    assert [answer.Status for (answer,) in answers] == [0] * len(sends)
    assert sum(e.instance_count for e in scp.received()) == len(sends)
    assert len(scp.received()) <= 2


async def test_caller_decides_hospital_when_several_may_send(scp: Scp, series: ct.Series) -> None:
    await asyncio.to_thread(scp.send, [series.files[0]], "CT2")
    assert [event.hospital for event in scp.received()] == ["secondary"]
    (record,) = scp.publisher.events("audit-recorded")
    assert isinstance(record, AuditRecorded)
    assert (record.user, record.hospital) == ("ae:CT2", "secondary")


async def test_association_is_refused_when_caller_is_unknown(scp: Scp) -> None:
    assoc = await asyncio.to_thread(scp.associate, "OTHER")
    assert assoc.is_rejected


async def test_echo_is_answered(scp: Scp) -> None:
    assoc = await asyncio.to_thread(scp.associate)
    answer = await asyncio.to_thread(assoc.send_c_echo)
    await asyncio.to_thread(assoc.release)
    assert answer.Status == 0


async def test_sender_is_told_when_nothing_is_durable(scp: Scp, series: ct.Series) -> None:
    scp.publisher.fail_with = PublishFailed("away")
    (answer,) = await asyncio.to_thread(scp.send, [series.files[0]])
    assert answer.Status == 0xA700
    scp.publisher.fail_with = None
    (answer,) = await asyncio.to_thread(scp.send, [series.files[0]])
    assert answer.Status == 0


async def test_broken_instance_is_refused_and_neighbours_stay(scp: Scp, series: ct.Series, tmp_path: Path) -> None:
    dataset = dcmread(series.files[1])
    dataset.PixelData = dataset.PixelData[:-2000]
    broken = tmp_path / "broken.dcm"
    dataset.save_as(broken)
    answers = await asyncio.to_thread(scp.send, [series.files[0], broken, series.files[2]])
    broken.unlink()
    assert [answer.Status for answer in answers] == [0, 0xC000, 0]
    assert "shorter" in answers[1].ErrorComment


async def test_sender_is_told_when_scratch_is_full(tmp_path: Path, series: ct.Series) -> None:
    scp = Scp(tmp_path, dimse_scratch_bytes=600_000, max_instance_bytes=500_000)
    async with accept_associations(scp.settings, scp.store_instances):
        answers = await asyncio.to_thread(scp.send, list(series.files[:2]))
    assert [answer.Status for answer in answers] == [0xA700, 0xA700]
    assert not scp.publisher.published


def test_callers_are_found_when_listed() -> None:
    callers = Callers("CT1@10.0.0.1=community, MR=secondary")
    assert callers.hospital_of("CT1", "10.0.0.1") == "community"
    assert callers.hospital_of("CT1", "10.0.0.2") is None
    assert callers.hospital_of("MR", "10.9.9.9") == "secondary"
    assert callers.hospital_of("", "10.0.0.1") is None
    assert callers.allows("", "10.0.0.2")
    assert not Callers("CT1@10.0.0.1=community").allows("", "10.0.0.2")
    assert not Callers("").allows("CT1", "10.0.0.1")


@pytest.mark.parametrize("text", ["CT1", "=community", "CT1=", "CT1=../x", "A-TITLE-THAT-IS-TOO-LONG=community"])
def test_callers_are_refused_when_unreadable(text: str) -> None:
    with pytest.raises(BadCallers):
        Callers(text)


@pytest.mark.parametrize(
    ("hospital", "titles", "established"),
    [
        ("community", ["CT1"], True),
        ("community", ["CT2"], False),
        ("secondary", ["CT1"], False),
    ],
)
async def test_caller_over_tls_is_who_its_certificate_says(
    tmp_path: Path, region_ca: RegionCa, hospital: str, titles: list[str], established: bool
) -> None:
    scp = Scp(tmp_path, dimse_tls=True, **region_ca.server("ingest").settings())
    context = client_context(region_ca.edge(hospital, titles, name="caller").files)

    def associate() -> bool:
        ae = AE("CT1")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 10
        ae.add_requested_context(ECHO)
        assoc = ae.associate("127.0.0.1", scp.settings.dimse_port, tls_args=(context, "localhost"))
        accepted = assoc.is_established and assoc.send_c_echo().Status == 0
        if assoc.is_established:
            assoc.release()
        return accepted

    async with accept_associations(scp.settings, scp.store_instances):
        assert await asyncio.to_thread(associate) is established
