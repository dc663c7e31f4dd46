"""The hash chain: each record carries the hash of the one before, so that no change or removal goes unseen. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

GENESIS = "0" * 64
Link = dict[str, Any]
"""A stored record: `audit_id`, `stream`, `seq`, `prev_hash`, `hash`, `at`, and the `record` as it was received."""
PARTS = ("audit_id", "stream", "seq", "prev_hash", "hash", "at", "record")


@dataclass(frozen=True, slots=True)
class Head:
    """The last link of a stream."""

    seq: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Anchor:
    """The heads of all chains as they were at one time, kept where nobody can change them."""

    at: datetime
    heads: dict[str, Head]

    def to_json(self) -> bytes:
        """As it is kept."""
        heads = {stream: {"seq": head.seq, "hash": head.hash} for stream, head in self.heads.items()}
        return orjson.dumps({"at": self.at.isoformat(), "heads": heads}, option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, text: bytes) -> "Anchor":
        """What `to_json` wrote."""
        document = orjson.loads(text)
        heads = {stream: Head(head["seq"], head["hash"]) for stream, head in document["heads"].items()}
        return cls(datetime.fromisoformat(document["at"]), heads)


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain does not hold."""

    stream: str
    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Position:
    """A link's place in a search's order: what was appended meanwhile does not move it."""

    at: datetime
    stream: str
    seq: int

    @classmethod
    def of(cls, link: Link) -> "Position":
        """The place of a link."""
        return cls(link["at"], link["stream"], link["seq"])

    @classmethod
    def parse(cls, text: str) -> "Position":
        """The place that `str` wrote.

        Raises
        ------
        ValueError
            It is none.
        """
        millis, seq, stream = text.split(".", 2)
        return cls(datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(millis)), stream, int(seq))

    def __str__(self) -> str:
        millis = (self.at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
        return f"{millis}.{self.seq}.{self.stream}"

    @property
    def key(self) -> tuple[datetime, str, int]:
        """What searches are sorted by, descending."""
        return self.at, self.stream, self.seq


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """What an auditor asks for; what is None does not matter."""

    user: str | None = None
    study_uid: str | None = None
    consult_id: str | None = None
    action: str | None = None
    outcome: str | None = None
    hospital: str | None = None
    grant_id: str | None = None
    residents: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()
    """With `residents`: records about any of these residents or any of these studies (a resident's access log)."""
    since: datetime | None = None
    until: datetime | None = None
    """Exclusive."""
    after: Position | None = None
    """Only what comes after this place: the next page."""

    @property
    def equal(self) -> dict[str, str]:
        """The fields of a record that must have a value."""
        names = ("user", "study_uid", "consult_id", "action", "outcome", "hospital", "grant_id")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def link_hash(stream: str, seq: int, prev_hash: str, record: dict[str, Any]) -> str:
    """SHA-256 over stream, number, the hash before and the record in canonical JSON (sorted keys, UTF-8)."""
    canonical = orjson.dumps([stream, seq, prev_hash, record], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()


def make_link(stream: str, head: Head, record: dict[str, Any]) -> Link:
    """The link that follows `head`."""
    seq = head.seq + 1
    return {
        "audit_id": record["audit_id"],
        "stream": stream,
        "seq": seq,
        "prev_hash": head.hash,
        "hash": link_hash(stream, seq, head.hash, record),
        "at": time_of(record),
        "record": record,
    }


def time_of(record: dict[str, Any]) -> datetime:
    """When it happened, to the millisecond, for searches by time."""
    at = datetime.fromisoformat(record["at"])
    at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def check_link(stream: str, link: Link, head: Head) -> Break | None:
    """Whether a stored link follows `head`, and what searches go by agrees with what is hashed."""
    seq = head.seq + 1
    if link.get("seq") != seq:
        return Break(stream, seq, f"record {seq} is missing")
    if link.get("prev_hash") != head.hash:
        return Break(stream, seq, "it does not follow the record before")
    if not _has_content(stream, link):
        return Break(stream, seq, "its content was changed")
    if (link["audit_id"], link["at"]) != (link["record"]["audit_id"], time_of(link["record"])):
        return Break(stream, seq, "its id or time was changed")
    return None


def _has_content(stream: str, link: Link) -> bool:
    """Whether the hash is that of the content; a content that JSON cannot write was not written by the service."""
    if set(link) != set(PARTS):
        return False
    try:
        expected = link_hash(stream, link["seq"], link["prev_hash"], link["record"])
    except TypeError:
        return False
    return bool(link["hash"] == expected)
