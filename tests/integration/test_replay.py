"""`make replay` on a real region: a dead letter goes back to its source, once, and is handled this time."""

import asyncio
import json
import sys
from pathlib import Path

from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import send_raw
from imaging_native.region import Region


async def run_replay(state: Path, topic: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "imaging_operate", "replay", topic, env={"REGION_STATE": str(state), "PATH": ""},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_dead_letter_goes_back_once(servers: Region, tmp_path: Path) -> None:
    state = tmp_path / "region.json"
    state.write_text(json.dumps(servers.state))
    settings = ServiceSettings(
        kafka_bootstrap=servers.kafka.bootstrap,
        kafka_username="admin",
        kafka_password=servers.kafka.passwords["admin"],  # type: ignore[arg-type]
    )
    topic = "hospital-registered-dlq-audit"
    record = (b"community", b"{}", [("ce_type", b"HospitalRegistered"), ("dlq_reason", b"a test")])
    await send_raw(settings, topic, [record, record])
    assert "2 replayed to hospital-registered" in await run_replay(state, topic)
    assert "0 replayed to hospital-registered" in await run_replay(state, topic)
