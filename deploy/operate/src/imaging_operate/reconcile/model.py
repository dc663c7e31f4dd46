"""A finding: one thing that is missing, where, and what is done about it."""

from dataclasses import dataclass, field
from typing import Any

from imaging_common.events import ManifestEntry, Version

REMEDIES = {
    "not-indexed": "index its manifest",
    "study-missing": "index its manifests; its hospital announces it again",
    "rows-missing": "index its manifests; its hospital announces it again",
    "object-missing": "look for another copy, else ask its hospital",
    "bytes-missing": "ask its hospital",
    "announced-not-here": "ask its hospital",
    "not-in-ledger": "adopt the pack",
    "not-told": "state the study again",
    "told-newer": "state the study anew, under a newer version",
    "deletion-not-followed": "order it again",
    "report-not-indexed": "index it",
    "announcements-missing": "its hospital announces all studies again",
}
"""Kind → what is done without `--dry-run`."""
CHECKED = {
    "not-indexed", "study-missing", "rows-missing", "object-missing", "not-in-ledger", "not-told", "told-newer",
}  # fmt: skip
"""Kinds that are mended by comparing the study with the object store."""
ANNOUNCED = {"study-missing", "rows-missing"}
"""Kinds where a hospital with a PACS has to announce the study again: what the store has is not all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is missing."""

    kind: str
    holder: str
    study_uid: str = ""
    what: str = ""
    """The object's key, or a count; no personal data."""
    wanted: tuple[ManifestEntry, ...] = ()
    """Instances that only the hospital can still give."""
    told: Version | None = None
    """The newest version that somebody was told."""
    detail: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def remedy(self) -> str:
        """What is done about it."""
        return REMEDIES[self.kind]

    def row(self) -> dict[str, Any]:
        """For a table."""
        return {
            "kind": self.kind,
            "holder": self.holder,
            "study_uid": self.study_uid,
            "what": self.what,
            "instances": [entry.sop_instance_uid for entry in self.wanted],
            "remedy": self.remedy,
        }


def study_of(key: str) -> tuple[str, str]:
    """(holder, study) of an object's or document's key."""
    holder, study_uid, *_ = key.split("/")
    return holder, study_uid
