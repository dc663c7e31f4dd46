"""What the store keeper's use cases need from outside, beside the object store."""

from object_writer.ports.archive import Compressor, DueSeries, Ledger, PackRecord, Pending, Policy
from object_writer.ports.cache_ledger import CacheLedger
from object_writer.ports.deletions import Deletions, Purged

__all__ = [
    "CacheLedger",
    "Compressor",
    "Deletions",
    "DueSeries",
    "Ledger",
    "PackRecord",
    "Pending",
    "Policy",
    "Purged",
]
