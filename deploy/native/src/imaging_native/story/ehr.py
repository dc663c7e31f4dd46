"""The residents' EHR: nothing but a plain Kafka consumer with its own credentials on its own topic."""

import asyncio
import json
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer

DEADLINE_SECONDS = 120


class EhrSubscriber:
    """Reads `ehr-residents-events` from the beginning and keeps what it read."""

    def __init__(self, state: dict[str, Any]) -> None:
        credentials = state["kafka"]["users"]
        self._consumer = AIOKafkaConsumer(
            "ehr-residents-events",
            bootstrap_servers=state["kafka"]["bootstrap"],
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username="ehr-residents",
            sasl_plain_password=credentials["ehr-residents"],
            group_id="ehr-residents",
            auto_offset_reset="earliest",
        )
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def __aenter__(self) -> Self:
        await asyncio.wait_for(self._consumer.start(), 30)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def study_changes(self, study_uid: str, instances: int) -> str:
        """Wait until the study is announced, settled and stored with all instances; versions only grow."""

        def seen() -> list[dict[str, Any]]:
            return [d for kind, d in self.events if kind == "StudyChanged" and d["study_uid"] == study_uid]

        def complete(change: dict[str, Any]) -> bool:
            return bool(change["announced"] and change["settled"] and change["stored"])

        await self._until(lambda: any(complete(change) and change["stored_count"] == instances for change in seen()))
        changes = seen()
        versions = [(change["version"]["epoch"], change["version"]["n"]) for change in changes]
        if versions != sorted(versions):
            raise AssertionError(f"versions of StudyChanged went back: {versions}")
        first = {
            name: next(i for i, change in enumerate(changes) if change[name])
            for name in ("announced", "settled", "stored")
        }
        if not first["announced"] <= first["settled"] <= first["stored"]:
            raise AssertionError(f"states came out of order: {first}")
        return f"announced, settled, stored in {len(changes)} statements, {instances} instances"

    async def report_issued(self) -> str:
        """Wait for `ReportIssued`."""
        await self._until(lambda: any(kind == "ReportIssued" for kind, _ in self.events))
        report = next(data for kind, data in self.events if kind == "ReportIssued")
        return f"consult {report['number']}, report version {report['report_version']}"

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                record = await self._consumer.getone()
                headers = dict(record.headers)
                self.events.append((headers["ce_type"].decode(), json.loads(record.value)))
