"""The hash chain: each record carries the hash of the one before, so that no change or removal goes unseen."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain does not hold."""

    stream: str
    seq: int
    reason: str


def link_hash(stream: str, seq: int, prev_hash: str, record: dict[str, Any]) -> str:
    """SHA-256 over stream, number, the hash before and the record in canonical JSON (sorted keys, UTF-8)."""
    canonical = orjson.dumps([stream, seq, prev_hash, record], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()


def check_link(document: dict[str, Any], expected_seq: int, prev_hash: str) -> Break | None:
    """Whether a stored link follows the one before."""
    stream, seq = document["stream"], document["seq"]
    if seq != expected_seq:
        return Break(stream, expected_seq, f"record {expected_seq} is missing")
    if document["prev_hash"] != prev_hash:
        return Break(stream, seq, "it does not follow the record before")
    if document["hash"] != link_hash(stream, seq, prev_hash, document["record"]):
        return Break(stream, seq, "its content was changed")
    return None
