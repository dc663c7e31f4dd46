"""What a report says, whatever form it came in; and rules about text that all forms share."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from imaging_common.objects.reports import ReportStatus

MAX_TEXT = 200_000
"""Characters of findings or impression that are kept beside the original."""
_FINDINGS = r"检查所见|影像所见|影像学所见|影像表现|检查描述|所见|FINDINGS?"
_IMPRESSION = r"诊断意见|影像诊断|诊断结论|检查结论|诊断印象|印象|结论|诊断|IMPRESSION|CONCLUSION|DIAGNOSIS|OPINION"
_HEADING = re.compile(
    rf"^[ \t【\[]*(?:(?P<findings>{_FINDINGS})|(?P<impression>{_IMPRESSION}))[ \t】\]]*(?:[:：]|(?=\n|$))",
    re.IGNORECASE | re.MULTILINE,
)
_IS_FINDINGS = re.compile(_FINDINGS, re.IGNORECASE)
_IS_IMPRESSION = re.compile(_IMPRESSION, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document inside the original."""

    media_type: str
    title: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ParsedReport:
    """One version of one report; fields as in `imaging_common.objects.reports.ReportManifest`."""

    report_id: str
    status: ReportStatus
    issued_at: datetime | None
    study_uid: str | None = None
    accession: str = ""
    accession_issuer: str = ""
    patient_id: str = ""
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""
    title: str = ""
    author: str = ""
    findings: str = ""
    impression: str = ""
    attachments: tuple[Attachment, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The fields of a `ReportManifest` that come from the original; attachments only by kind and size."""
        names = [name for name in self.__dataclass_fields__ if name not in ("attachments", "issued_at")]
        listed = [{"media_type": a.media_type, "title": a.title, "length": len(a.data)} for a in self.attachments]
        return {name: getattr(self, name) for name in names} | {"extra": {"attachments": listed}}


def section_of(label: str) -> str:
    """Whether a label, a code's text, names the `findings` or the `impression`; empty: neither."""
    if _IS_IMPRESSION.search(label):
        return "impression"
    return "findings" if _IS_FINDINGS.search(label) else ""


def split_sections(text: str) -> tuple[str, str]:
    """(findings, impression) of one text by its headings at the beginning of lines; without any it is all findings.

    >>> split_sections("检查所见：两肺纹理清晰。\\n诊断意见：未见异常。")
    ('两肺纹理清晰。', '未见异常。')
    """
    parts: dict[str, list[str]] = {"findings": [], "impression": []}
    section, position = "findings", 0
    for heading in _HEADING.finditer(text):
        parts[section].append(text[position : heading.start()])
        section, position = heading.lastgroup or section, heading.end()
    parts[section].append(text[position:])
    return tidy(parts["findings"]), tidy(parts["impression"])


def tidy(lines: Iterable[str]) -> str:
    """Lines joined, control characters dropped, bounded."""
    text = "\n".join(line.strip() for line in lines if line.strip())
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text)[:MAX_TEXT]


def is_han(text: str) -> bool:
    """Whether there is a Chinese character in it."""
    return re.search(r"[㐀-䶿一-鿿豈-﫿]", text) is not None
