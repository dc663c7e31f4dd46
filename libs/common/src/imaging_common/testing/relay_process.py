"""`python -m imaging_common.testing.relay_process DATABASE`: an outbox relay as a process of its own, to be killed."""

import asyncio
import sys

from pydantic_settings import SettingsConfigDict

from imaging_common import mongo
from imaging_common.messaging import KafkaPublisher
from imaging_common.messaging.outbox import Outbox, OutboxRelay
from imaging_common.settings import ServiceSettings


class RelaySettings(ServiceSettings):
    """From the environment with prefix `RELAY_`."""

    model_config = SettingsConfigDict(env_prefix="RELAY_")


async def run(database: str) -> None:
    """Relay until killed."""
    settings = RelaySettings()
    client = mongo.connect(settings)
    relay = OutboxRelay(Outbox(client[database]), KafkaPublisher("relay", settings))
    await relay.start()
    print("relaying", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
