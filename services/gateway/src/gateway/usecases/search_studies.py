"""The study list's search: what a person typed becomes a clause over the index."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from imaging_common.access import Subject
from imaging_common.audit import AuditTrail, who
from imaging_common.index.names import name_clause
from imaging_common.index.read import Page, StudyIndex

PAGE_SIZE = 25
MAX_PAGE = 400
COUNTED = 1000
"""So many studies behind a page are counted; the list then says "1000+"."""
BODY_PARTS: Mapping[str, tuple[str, ...]] = {
    "HEAD": ("HEAD", "BRAIN", "SKULL", "HEADNECK", "ORBIT", "SINUS", "PARANASALSINUS", "FACE", "JAW", "TEMPORALBONE"),
    "NECK": ("NECK", "THYROID", "LARYNX", "CAROTID", "HEADNECK"),
    "CHEST": ("CHEST", "LUNG", "THORAX", "RIB", "STERNUM", "MEDIASTINUM", "CHESTABDOMEN"),
    "HEART": ("HEART", "CARDIAC", "CORONARYARTERY", "AORTA"),
    "BREAST": ("BREAST",),
    "ABDOMEN": ("ABDOMEN", "LIVER", "KIDNEY", "PANCREAS", "STOMACH", "GALLBLADDER", "SPLEEN", "ABDOMENPELVIS",
                "CHESTABDOMEN", "COLON", "ESOPHAGUS"),
    "PELVIS": ("PELVIS", "HIP", "BLADDER", "PROSTATE", "UTERUS", "RECTUM", "ABDOMENPELVIS"),
    "SPINE": ("SPINE", "CSPINE", "TSPINE", "LSPINE", "LUMBAR", "SSPINE", "COCCYX", "WHOLESPINE"),
    "UPPEREXTREMITY": ("SHOULDER", "CLAVICLE", "SCAPULA", "HUMERUS", "ARM", "ELBOW", "FOREARM", "WRIST", "HAND",
                       "FINGER", "THUMB", "UPPEREXTREMITY"),
    "LOWEREXTREMITY": ("FEMUR", "THIGH", "KNEE", "PATELLA", "LEG", "TIBIA", "ANKLE", "FOOT", "TOE", "CALCANEUS",
                       "LOWEREXTREMITY", "EXTREMITY"),
}  # fmt: skip
"""What a person chooses, and the values of Body Part Examined (0018,0015) that it means (PS3.16 Annex L)."""
MODALITIES = ("CT", "MR", "CR", "DX", "US", "MG", "NM", "PT", "XA", "RF", "ES", "SC")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class StudySearch:
    """What the search form says."""

    words: str = ""
    """A name (Han, pinyin, Latin), a patient id or an accession number."""
    modality: str = ""
    date_from: str = ""
    date_to: str = ""
    page: int = 1
    body_part: str = ""
    """One of `BODY_PARTS`."""

    @classmethod
    def read(cls, form: Mapping[str, str]) -> "StudySearch":
        """From form fields; what does not fit is left out."""
        date_from, date_to = (
            form.get(name, "") if _DATE.fullmatch(form.get(name, "")) else "" for name in ("date_from", "date_to")
        )
        modality = form.get("modality", "").upper()
        page = form.get("page", "1")
        return cls(
            words=form.get("words", "").strip()[:64],
            modality=modality if re.fullmatch(r"[A-Z0-9]{1,16}", modality) else "",
            date_from=date_from,
            date_to=date_to,
            page=min(max(int(page), 1), MAX_PAGE) if re.fullmatch(r"\d{1,4}", page) else 1,
            body_part=form.get("body_part", "") if form.get("body_part", "") in BODY_PARTS else "",
        )

    def form(self) -> dict[str, str]:
        """As form fields."""
        return {
            "words": self.words,
            "modality": self.modality,
            "date_from": self.date_from,
            "date_to": self.date_to,
            "page": str(self.page),
            "body_part": self.body_part,
        }

    @property
    def narrows(self) -> bool:
        """Whether it asks for less than everything."""
        return bool(self.words or self.modality or self.body_part or self.date_from or self.date_to)

    def clause(self, residents: Sequence[str] = ()) -> dict[str, Any]:
        """Over documents of `index.studies`; `residents` are the ids of the person that the words name, if they do."""
        parts: list[dict[str, Any]] = []
        if self.words:
            exact = re.escape(self.words)
            parts.append(
                {
                    "$or": [
                        name_clause(self.words, fuzzy=True),
                        {"patient.id": {"$regex": f"^{exact}"}},
                        {"accession": {"$regex": f"^{exact}"}},
                        {"resident_id": {"$in": list(residents)}},
                    ]
                }
            )
        if self.modality:
            parts.append({"modalities": self.modality})
        if self.body_part:
            parts.append({"body_parts": {"$in": list(BODY_PARTS[self.body_part])}})
        between = {"$gte": self.date_from.replace("-", ""), "$lte": self.date_to.replace("-", "")}
        dates = {operator: day for operator, day in between.items() if day}
        if dates:
            parts.append({"study_date": {"$ne": "", **dates}})
        return {"$and": parts} if parts else {}


def part_group(value: str) -> str:
    """The choice of `BODY_PARTS` that a value of Body Part Examined falls under first; empty: none."""
    return next((group for group, values in BODY_PARTS.items() if value.upper() in values), "")


async def search_studies(
    index: StudyIndex, audit: AuditTrail, subject: Subject, search: StudySearch, *, reason: str = ""
) -> Page:
    """One page of what the subject may see, recorded before it is shown."""
    residents = (await index.resident(search.words)).ids if search.words else ()
    page = await index.search_studies(
        subject, search.clause(residents), limit=PAGE_SIZE, offset=(search.page - 1) * PAGE_SIZE, lookahead=COUNTED
    )
    await audit.record(
        action="search",
        outcome="success",
        **who(subject),
        count=len(page.rows),
        reason=reason,
    )
    return page
