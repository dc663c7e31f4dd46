"""A hospital that announces another's study on the real broker gains nobody access to its pixels."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError

from imaging_native import ct
from imaging_native.asking import until
from imaging_native.region import Region
from imaging_native.session import portal_client
from imaging_native.story.images import ImageScene


def announcement(study_uid: str, sop_uid: str) -> bytes:
    return json.dumps(
        {
            "study_uid": study_uid,
            "announcement": 1,
            "basis": "quiet",
            "instances": [{"sop_instance_uid": sop_uid, "sha256": "0" * 64}],
            "announced_at": datetime.now(UTC).isoformat(),
        }
    ).encode()


async def produce_as(region: Region, principal: str, topic: str, value: bytes, key: str) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=region.kafka.edge_bootstrap,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_plain_username=principal,
        sasl_plain_password=region.kafka.passwords[principal],
        acks="all",
        request_timeout_ms=10_000,
    )
    await producer.start()
    try:
        headers = {
            "ce_specversion": "1.0",
            "ce_id": str(uuid4()),
            "ce_type": "StudyAvailable",
            "ce_source": "/services/edge-agent",
            "ce_time": datetime.now(UTC).isoformat(),
            "content-type": "application/json",
        }
        encoded = [(name, text.encode()) for name, text in headers.items()]
        await producer.send_and_wait(topic, value, key=key.encode(), headers=encoded)
    finally:
        await producer.stop()


@pytest.fixture(scope="module")
async def study(region: Region, tmp_path_factory: pytest.TempPathFactory) -> ct.Series:
    """A study of the community hospital that can be seen there."""
    folder: Path = tmp_path_factory.mktemp("spoof")
    series = ct.write_series(folder, slices=3, seed=int(uuid4()) % 10**6)
    scene = ImageScene(region.state, folder, 3)
    await scene.dcmsend(series.files)
    await scene.aclose()
    doctor = await portal_client(region.state, "doctor.community")

    async def listed() -> bool:
        answer = await doctor.get("/dicomweb/studies", params={"StudyInstanceUID": series.study_uid})
        return answer.status_code == 200 and bool(answer.json())

    await until(listed, "the study in QIDO-RS")
    await doctor.aclose()
    return series


async def test_edge_agent_cannot_write_to_another_hospitals_topic(region: Region, study: ct.Series) -> None:
    value = announcement(study.study_uid, "1.2.3")
    with pytest.raises(TopicAuthorizationFailedError):
        await produce_as(region, "edge-secondary", "edge-events-community", value, study.study_uid)


async def test_nobody_gains_pixels_when_a_hospital_announces_anothers_study(region: Region, study: ct.Series) -> None:
    doctor = await portal_client(region.state, "doctor.community")
    rows = (await doctor.get(f"/dicomweb/studies/{study.study_uid}/instances")).json()
    instance: dict[str, Any] = rows[0]
    await doctor.aclose()
    sop = instance["00080018"]["Value"][0]
    await produce_as(
        region, "edge-secondary", "edge-events-secondary", announcement(study.study_uid, sop), study.study_uid
    )

    index = region.client("root")["index"]["studies"]

    async def noted() -> bool:
        return await index.find_one({"_id": f"secondary/{study.study_uid}"}) is not None

    await until(noted, "the false announcement in the index")
    expert = await portal_client(region.state, "expert.secondary")
    try:
        root = f"/dicomweb/studies/{study.study_uid}"
        for path in (
            root,
            f"{root}/metadata",
            f"{root}/series/{study.series_uid}/metadata",
            f"{root}/series/{study.series_uid}/instances/{sop}",
            f"{root}/series/{study.series_uid}/instances/{sop}/frames/1",
            f"{root}/series/{study.series_uid}/instances/{sop}/rendered",
            f"/dicomweb/hospitals/community/studies/{study.study_uid}",
        ):
            answer = await expert.get(path)
            assert answer.status_code == 404, path
    finally:
        await expert.aclose()
