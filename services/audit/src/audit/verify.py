"""`python -m audit.verify`: walks every chain, prints the outcome, and exits 1 on a break, 2 when the record or its
anchors cannot be read."""

import asyncio
import sys

from pymongo.errors import PyMongoError

from audit.adapters.minio_vault import MinioVault
from audit.adapters.mongo_records import MongoRecordStore
from audit.errors import VaultUnavailable
from audit.settings import AuditSettings
from audit.usecases import Outcomes, verify_chains
from imaging_common.mongo import connect


async def verify(settings: AuditSettings) -> Outcomes:
    """What the walk found."""
    client = connect(settings)
    try:
        return await verify_chains(MongoRecordStore(client, settings.database), MinioVault(settings))
    finally:
        await client.close()


def report(outcomes: Outcomes) -> list[str]:
    """One line per chain and per break, then the sum."""
    lines = [f"{stream} holds to record {head.seq} {head.hash}" for stream, head in outcomes.heads.items()]
    lines += [f"BROKEN {broken.stream} record {broken.seq}: {broken.reason}" for broken in outcomes.breaks]
    sums = f"{outcomes.count} records hold, {len(outcomes.breaks)} chains are broken"
    return [*lines, f"{sums}; compared with {outcomes.anchors} anchors"]


if __name__ == "__main__":
    try:
        found = asyncio.run(verify(AuditSettings()))
    except (VaultUnavailable, PyMongoError) as error:
        print(f"nothing was checked: {error}")
        sys.exit(2)
    print("\n".join(report(found)))
    sys.exit(int(bool(found.breaks)))
