"""`python -m audit.verify`: walks every chain, prints the outcome, and exits 1 on a break."""

import asyncio
import sys

from audit.adapters.mongo_records import MongoRecordStore
from audit.settings import AuditSettings
from audit.usecases import verify_chains
from imaging_common.mongo import connect


async def verify() -> int:
    """The exit code."""
    settings = AuditSettings()
    client = connect(settings)
    try:
        count, breaks = await verify_chains(MongoRecordStore(client, settings.database))
    finally:
        await client.close()
    for broken in breaks:
        print(f"BROKEN {broken.stream} record {broken.seq}: {broken.reason}")
    print(f"{count} records hold, {len(breaks)} chains are broken")
    return int(bool(breaks))


if __name__ == "__main__":
    sys.exit(asyncio.run(verify()))
