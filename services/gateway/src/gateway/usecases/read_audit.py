"""What an auditor asks of the audit record; a resident's access log takes in every study of that person."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from gateway.ports import AuditRecords
from imaging_common.ids import is_uid
from imaging_common.index.read import StudyIndex

FIELDS = ("user", "resident", "study", "consult", "action", "outcome", "from", "to", "after")
OUTCOMES = ("success", "denied", "failed")
PAGE = 50
STUDIES_OF_A_RESIDENT = 400
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PLACE = re.compile(r"[0-9A-Za-z._-]{1,120}")


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """What the form says; what does not fit is left out and named in `problem`."""

    values: Mapping[str, str]
    problem: str = ""

    @classmethod
    def read(cls, form: Mapping[str, str], actions: tuple[str, ...]) -> "AuditSearch":
        """From form fields."""
        values = {name: form.get(name, "").strip()[:120] for name in FIELDS}
        problem = ""
        if values["study"] and not is_uid(values["study"]):
            problem = "audit.bad-study"
        for name in ("from", "to"):
            if values[name] and not (_DAY.fullmatch(values[name]) and _is_day(values[name])):
                problem = "audit.bad-date"
        if values["action"] not in ("", *actions) or values["outcome"] not in ("", *OUTCOMES):
            problem = "audit.bad-choice"
        if not _PLACE.fullmatch(values["after"] or "0"):
            values["after"] = ""
        return cls(values, problem)

    async def params(self, index: StudyIndex, zone: ZoneInfo) -> dict[str, str | list[str]]:
        """For the audit service."""
        pairs = (("user", "user"), ("consult_id", "consult"), ("action", "action"), ("outcome", "outcome"))
        found: dict[str, str | list[str]] = {
            name: self.values[field] for name, field in (*pairs, ("after", "after")) if self.values[field]
        }
        if self.values["from"]:
            found["since"] = datetime.fromisoformat(self.values["from"]).replace(tzinfo=zone).isoformat()
        if self.values["to"]:
            end = datetime.fromisoformat(self.values["to"]) + timedelta(days=1)
            found["until"] = end.replace(tzinfo=zone).isoformat()
        if self.values["study"]:
            found["study_uid"] = self.values["study"]
        if self.values["resident"]:
            person = await index.resident(self.values["resident"])
            ids = [person.id, *(one for one in person.ids if one != person.id)]
            studies = await index.recent({"resident_id": {"$in": ids}}, limit=STUDIES_OF_A_RESIDENT)
            found["resident"] = ids
            found["study"] = sorted({document.study_uid for document in studies})
        return found


@dataclass(frozen=True, slots=True)
class AccessLog:
    """The lines above a resident's records: who looked, by hospital."""

    residents: Sequence[str]
    """Every id of the person, the one that counts first."""
    hospitals: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]
    """Hospital (empty: none) and its people, who looked last first."""
    more: bool
    """There are more people than are shown."""

    @property
    def people(self) -> int:
        """How many are shown."""
        return sum(len(people) for _, people in self.hospitals)


async def read_access_log(records: AuditRecords, token: str, params: Mapping[str, str | list[str]]) -> AccessLog | None:
    """Who looked at a resident; None: the search names none, or goes on to older records.

    Raises
    ------
    AuditUnavailable
        The audit service does not answer.
    """
    residents = params.get("resident", [])
    if not residents or "after" in params:
        return None
    people, more = await records.summary(token, params)
    hospitals = [(name, list(each)) for name, each in groupby(people, key=lambda one: str(one["hospital"]))]
    return AccessLog(list(residents), hospitals, more)


def _is_day(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
