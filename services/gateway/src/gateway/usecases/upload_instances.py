"""People upload images for their own hospital: the bytes go through to the ingest, the answer says each one's fate."""

import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.ports import InstanceDoor
from imaging_common.access import Subject
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.ids import is_uid
from imaging_common.index.read import Row, StudyIndex

ROLES = frozenset({"doctor", "expert", "hospital-operator"})
MAX_ASKED = 500
"""Instances of which a browser asks at once whether they are there."""
MAX_STUDIES = 50
_DIGEST = re.compile(r"[0-9a-f]{64}")
_STUDY = re.compile(r"/studies/([0-9.]+)/")
_STORED, _FAILED, _OTHER = "00081199", "00081198", "0008119A"


@dataclass(frozen=True, slots=True)
class Refused:
    """An instance the ingest did not take; `sop_instance_uid` is empty when it could not even be told which."""

    sop_instance_uid: str
    reason: str
    """Failure Reason (0008,1197) as four hexadecimal digits."""
    comment: str
    """Error Comment (0000,0902)."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of a batch."""

    stored: Mapping[str, str]
    """Study Instance UID by SOP Instance UID; empty where the ingest does not say the study."""
    refused: tuple[Refused, ...]


def may_upload(claims: Claims) -> bool:
    """Doctors, experts and operators of a hospital, for that hospital."""
    return bool(claims.hospital) and bool(claims.roles & ROLES)


class UploadInstances:
    """The use case behind the upload page."""

    def __init__(self, index: StudyIndex, door: InstanceDoor, audit: AuditTrail) -> None:
        self._index = index
        self._door = door
        self._audit = audit

    async def known(self, claims: Claims, asked: Sequence[tuple[str, str]]) -> list[str]:
        """Of (SOP Instance UID, SHA-256) those that the own hospital's studies have already, byte for byte."""
        wanted = {uid: digest for uid, digest in asked[:MAX_ASKED] if is_uid(uid) and _DIGEST.fullmatch(digest)}
        found = await self._index.digests_of(claims.hospital, list(wanted))
        return [uid for uid, digest in wanted.items() if digest in found.get(uid, ())]

    async def __call__(
        self, subject: Subject, content_type: str, length: int, body: AsyncIterator[bytes], *, source: str = ""
    ) -> Uploaded:
        """Store a batch for the subject's hospital; recorded per study before anybody is told.

        Raises
        ------
        IngestUnavailable
            Nothing is known to be stored; the same batch may come again.
        IngestRefused
            Nothing is stored.
        PublishFailed
            It is stored, but the record is not durable; the same batch may come again.
        """
        answer = await self._door.forward(
            subject.hospital, content_type, length, body, user=subject.user, hospital=subject.hospital
        )
        done = read_answer(answer)
        for study_uid, count in Counter(done.stored.values()).items():
            await self._record(subject, "success", study_uid, count, "upload", source)
        if done.refused:
            await self._record(subject, "denied", "", len(done.refused), "upload-refused", source)
        return done

    async def studies(self, subject: Subject, study_uids: Sequence[str]) -> list[Row]:
        """The uploaded studies as far as the index has them by now and the subject may see them; recorded."""
        uids = [uid for uid in study_uids if is_uid(uid)][:MAX_STUDIES]
        if not uids:
            return []
        where = {"holder": subject.hospital, "study_uid": {"$in": uids}}
        page = await self._index.search_studies(subject, where, limit=MAX_STUDIES, lookahead=0)
        await self._audit.record(
            action="search", outcome="success", reason="uploaded", **who(subject), count=len(page.rows),
        )  # fmt: skip
        return page.rows

    async def denied(self, subject: Subject, source: str = "") -> None:
        """Record that somebody tried who may not."""
        await self._record(subject, "denied", "", 0, "may-not-upload", source)

    async def _record(
        self, subject: Subject, outcome: Any, study_uid: str, count: int, reason: str, source: str
    ) -> None:
        await self._audit.record(
            action="store",
            outcome=outcome,
            reason=reason,
            **who(subject),
            study_uid=study_uid or None,
            holder=subject.hospital or None,
            count=count,
            source=source,
        )


def read_answer(document: Mapping[str, Any]) -> Uploaded:
    """The Store Instances Response (PS3.18 Annex I) in DICOM JSON."""
    stored = {_value(item, "00081155"): _study(_value(item, "00081190")) for item in _items(document, _STORED)}
    refused = [
        Refused(_value(item, "00081155"), f"{int(_value(item, '00081197') or 0):04X}", _value(item, "00000902"))
        for item in (*_items(document, _FAILED), *_items(document, _OTHER))
    ]
    return Uploaded(stored, tuple(refused))


def _items(document: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    return list(document.get(tag, {}).get("Value", ()))


def _value(item: Mapping[str, Any], tag: str) -> str:
    values = item.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _study(url: str) -> str:
    found = _STUDY.search(url)
    return found.group(1) if found else ""
