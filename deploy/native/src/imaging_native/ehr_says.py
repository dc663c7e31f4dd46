"""Says something as the residents' EHR does: from outside, with its own Kafka user; for tests."""

from datetime import UTC, datetime
from uuid import uuid4

from pydantic import SecretStr

from imaging_common.events import Event
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import send_raw
from imaging_native.region import Region


async def say_as_ehr(region: Region, topic: str, event: Event, key: str) -> None:
    """Write one event; acknowledged on return."""
    settings = ServiceSettings(
        kafka_bootstrap=region.kafka.edge_bootstrap,
        kafka_username="ehr-residents",
        kafka_password=SecretStr(region.kafka.passwords["ehr-residents"]),
    )
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid4()),
        "ce_type": event.type_name(),
        "ce_source": "/ehr/residents",
        "ce_time": datetime.now(UTC).isoformat(),
        "content-type": "application/json",
    }
    encoded = [(name, text.encode()) for name, text in headers.items()]
    await send_raw(settings, topic, [(key.encode(), event.model_dump_json().encode(), encoded)])
