"""What operators set for consults, as forms: routing table, experts and roster, policies. Pure.

Shapes (JSON of the consult service; each carries a `revision`, which a `PUT` names):

- `routing`: `{revision, rows: [{name, level, subspecialty, modality, body_part, urgency, hospital, department,
  expert}]}`; an empty condition fits everything, the first row that fits decides; `level` is that of the hospital that
  asks; `hospital` … `expert` are the target, an empty hospital is whatever hospital is one level above.
- `routing/try` `{application}` or `{case: {level, subspecialty, modality, body_part, urgency}}`: `{row, chosen:
  {consultant_hospital, department, expert, expert_name}, why: [{row, fits, reasons}]}`; reasons are conditions' names,
  `own-hospital`, `no-hospital`, `off-duty` or `load`.
- `experts`: `{revision, experts: [{user, name, hospital, department, subspecialties, duty}]}`; `duty` holds
  `<weekday>-<shift>`, 0 is Monday, `day` or `night`.
- `policies/<hospital>`: `{revision, second_reader, second_reader_modalities, limits: {<urgency>: {<level>: {accept,
  opinion, report}}}, letterhead: {name_zh, name_en, address, phone}}`, limits in minutes.
- `statistics?from=&to=&by=`: `{rows: [{key, name, count, issued, overdue, median_hours, p90_hours}]}`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

ROW = ("name", "level", "subspecialty", "modality", "body_part", "urgency", "hospital", "department", "expert")
SHIFTS = ("day", "night")
SECOND_READER = ("never", "always", "by-modality", "critical")
LIMITS = ("accept", "opinion", "report")
LETTERHEAD = ("name_zh", "name_en", "address", "phone")
LEVELS = ("community", "secondary", "tertiary", "outside")
MAX_ROWS = 200
MAX_MINUTES = 60 * 24 * 90
Form = Mapping[str, Sequence[str]]


def read_rows(form: Form) -> list[dict[str, str]]:
    """The routing table's rows, in the order of the page; rows without a name are left out."""
    columns = [[value.strip()[:200] for value in form.get(name, ())] for name in ROW]
    rows = [dict(zip(ROW, values, strict=True)) for values in zip(*columns, strict=False)]
    return [row for row in rows if row["name"]][:MAX_ROWS]


def read_experts(form: Form) -> list[dict[str, Any]]:
    """Experts; `n` numbers their rows, since a row's boxes are sent only where they are ticked."""
    experts = []
    for number in list(form.get("n", ()))[:MAX_ROWS]:
        one = {name: _first(form, f"{name}-{number}") for name in ("user", "name", "hospital", "department")}
        if one["user"]:
            ticked = {name: list(form.get(f"{name}-{number}", ())) for name in ("subspecialties", "duty")}
            experts.append({**one, **ticked})
    return experts


def read_policy(form: Form, urgencies: Sequence[str]) -> dict[str, Any]:
    """A hospital's policy; limits that are no number of minutes are left out, and the region's count."""
    limits: dict[str, dict[str, dict[str, int]]] = {}
    for urgency in urgencies:
        for level in LEVELS:
            for limit in LIMITS:
                text = _first(form, f"{urgency}-{level}-{limit}")
                if text.isdecimal() and 0 < int(text[:9]) <= MAX_MINUTES:
                    limits.setdefault(urgency, {}).setdefault(level, {})[limit] = int(text)
    reader = _first(form, "second_reader")
    modalities = _first(form, "second_reader_modalities").upper().replace(",", " ").replace("、", " ").split()
    return {
        "second_reader": reader if reader in SECOND_READER else "never",
        "second_reader_modalities": modalities[:20],
        "limits": limits,
        "letterhead": {name: _first(form, name) for name in LETTERHEAD},
    }


def _first(form: Form, name: str) -> str:
    values = form.get(name, ())
    return values[0].strip()[:200] if values else ""
