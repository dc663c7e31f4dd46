"""Append a record to its stream's chain, and walk the chains."""

from audit.model import GENESIS, Break, check_link
from audit.ports import RecordStore
from imaging_common.events import AuditRecorded


async def append_record(store: RecordStore, event: AuditRecorded) -> bool:
    """Append the record once; whether it was new."""
    return await store.append(event.service, event.model_dump(mode="json"))


async def verify_chains(store: RecordStore) -> tuple[int, list[Break]]:
    """Walk every chain from its beginning to its head: the number of records that hold, and the first break of each."""
    count, breaks = 0, []
    for stream, (head_seq, head_hash) in sorted((await store.streams()).items()):
        seq, prev_hash, broken = 0, GENESIS, None
        async for document in store.chain(stream):
            broken = check_link(document, seq + 1, prev_hash)
            if broken:
                break
            seq, prev_hash = document["seq"], document["hash"]
            count += 1
        if broken is None and (seq, prev_hash) != (head_seq, head_hash):
            broken = Break(stream, seq + 1, "the end of the chain is missing")
        if broken:
            breaks.append(broken)
    return count, breaks
