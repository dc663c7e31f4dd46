"""QIDO-RS queries (PS3.18 §10.6): parameters enter, clauses for the index leave; rows enter, DICOM JSON leaves."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.dicomweb.attributes import (
    ATTRIBUTES,
    FROM_HEADER,
    OF_LEVEL,
    Attribute,
    Match,
    tag_of,
    to_json,
    value_at,
    vr_of,
)
from imaging_common.index.names import name_clause, name_pattern, wildcard_pattern
from imaging_common.index.read import INSTANCES, MAX_OFFSET, SERIES, STUDIES, Level, Row
from imaging_common.index.residents import RESIDENT_ISSUER

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_VALUE = 1024
OTHER_PATIENT_IDS = "00101002"
NOT_KEYS = frozenset({"limit", "offset", "fuzzymatching", "includefield", "accept", "charset", "emptyvaluematching"})
LEVELS = (STUDIES, SERIES, INSTANCES)


class BadQuery(ValueError):
    """The query cannot be understood (400); the text says why, without the value."""


@dataclass(slots=True)
class Query:
    """A parsed query: clauses per level, what to return, and which page."""

    clauses: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {level.collection: [] for level in LEVELS})
    include: set[str] = field(default_factory=set)
    include_all: bool = False
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    resident: str = ""
    """The resident whose studies are wanted: PatientID with the EHR as its issuer."""

    def where(self, level: Level) -> dict[str, Any]:
        """The clause on a level's documents; empty without keys."""
        clauses = self.clauses[level.collection]
        return {"$and": clauses} if clauses else {}


def parse_query(parameters: Iterable[tuple[str, str]]) -> Query:
    """Parse the parameters of any of the search resources.

    Raises
    ------
    BadQuery
        An attribute is unknown or cannot be matched, or a value is malformed.
    """
    pairs = list(parameters)
    names = {name.lower(): value for name, value in pairs}
    fuzzy = names.get("fuzzymatching", "false").lower() == "true"
    query = Query()
    query.limit = min(_whole(names.get("limit"), "limit", DEFAULT_LIMIT), MAX_LIMIT)
    query.offset = _whole(names.get("offset"), "offset", 0)
    if query.offset > MAX_OFFSET:
        raise BadQuery(f"offset is beyond {MAX_OFFSET}: narrow the search")
    for name, value in pairs:
        if name.lower() == "includefield":
            _include(query, value)
        elif name.lower() not in NOT_KEYS and value not in ("", "*"):
            _match(query, name, value, fuzzy)
    _name_resident(query)
    return query


def _name_resident(query: Query) -> None:
    """PatientID with IssuerOfPatientID `EHR` names a resident, whatever the hospitals call that patient."""
    issuer = {"patient.issuer": RESIDENT_ISSUER}
    clauses = query.clauses[STUDIES.collection]
    if issuer not in clauses:
        return
    named = [clause["patient.id"] for clause in clauses if "patient.id" in clause]
    if len(named) != 1 or not isinstance(named[0], str):
        raise BadQuery(f"with the issuer {RESIDENT_ISSUER} a search needs one PatientID without wild cards")
    query.resident = named[0]
    query.clauses[STUDIES.collection] = [c for c in clauses if c != issuer and "patient.id" not in c]


def _whole(text: str | None, name: str, default: int) -> int:
    if text is None:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise BadQuery(f"{name} is not a whole number")
    return int(text)


def _include(query: Query, value: str) -> None:
    for name in value.split(","):
        if name.strip().lower() == "all":
            query.include_all = True
        elif tag := tag_of(name.strip().split(".")[0]):
            query.include.add(tag)
        else:
            raise BadQuery("includefield names no attribute that the data dictionary knows")


def _match(query: Query, name: str, value: str, fuzzy: bool) -> None:
    tag = tag_of(name)
    if tag is None:
        raise BadQuery(f"{name[:64]!r} is neither a keyword nor a tag of the data dictionary")
    attribute = ATTRIBUTES.get(tag)
    if attribute is None or attribute.match is Match.NONE:
        raise BadQuery(f"{name[:64]} cannot be matched here")
    if len(value) > MAX_VALUE and attribute.match is not Match.UID:
        raise BadQuery(f"the value of {attribute.keyword} is too long")
    query.clauses[attribute.level.collection].append(clause(attribute, value, fuzzy=fuzzy))


def clause(attribute: Attribute, value: str, *, fuzzy: bool = False) -> dict[str, Any]:
    """The index clause for one attribute and query value (PS3.4 C.2.2.2)."""
    match attribute.match:
        case Match.RANGE:
            return {attribute.field: _range(attribute, value)}
        case Match.UID:
            return {attribute.field: {"$in": [uid for uid in re.split(r"[\\,]", value) if uid]}}
        case Match.NUMBER:
            try:
                return {attribute.field: int(value)}
            except ValueError as error:
                raise BadQuery(f"{attribute.keyword} is not a whole number") from error
        case Match.NAME if attribute.field == "patient.name":
            return name_clause(value, fuzzy=fuzzy)
        case Match.NAME:
            return {f"{attribute.field}.search": {"$regex": name_pattern(value, fuzzy=fuzzy)}}
        case Match.CASELESS:
            return {attribute.field: {"$regex": f"^{wildcard_pattern(value)}$", "$options": "i"}}
    values = re.split(r"[\\,]", value) if attribute.field == "modalities" else [value]
    clauses = [
        {attribute.field: {"$regex": f"^{wildcard_pattern(v)}$"}} if "*" in v or "?" in v else {attribute.field: v}
        for v in values
    ]
    return clauses[0] if len(clauses) == 1 else {"$or": clauses}


def _range(attribute: Attribute, value: str) -> dict[str, str]:
    """Range matching (PS3.4 C.2.2.2.5): `a-b`, `a-`, `-b`, or one value; times may be cut short."""
    date = attribute.vr == "DA"
    first, dash, last = value.partition("-")
    if date and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        first, dash, last = value.replace("-", ""), "", ""
    pattern = r"\d{8}" if date else r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"
    if not (first or last) or any(part and not re.fullmatch(pattern, part) for part in (first, last)):
        raise BadQuery(f"{attribute.keyword} is not a {'date' if date else 'time'} or a range of them")
    if not dash:
        last = first
    bounds = {"$gte": first} if first else {"$gt": ""}
    return bounds | ({"$lte": last if date else _end_of(last)} if last else {})


def _end_of(time: str) -> str:
    """The last instant that begins with `time`: `09` is until 09:59:59.999999."""
    return time if "." in time else time + "235959"[len(time) :] + ".999999"


def rows_to_json(
    rows: Sequence[Row],
    level: Level,
    query: Query,
    *,
    base: str,
    upper: dict[str, dict[str, Any]],
    headers: dict[str, bytes],
    available: Mapping[str, str],
) -> list[dict[str, Any]]:
    """The answer's objects.

    `available` holds Instance Availability by the rows' `_id`.

    `upper` holds study and series documents by `_id`, whose attributes are added below them; `headers` the stored
    headers by the rows' `_id`, for what the index itself does not keep.
    """
    found = [_to_json(row, level, query, base, upper, headers) for row in rows]
    for row, answer in zip(rows, found, strict=True):
        answer["00080054"] = {"vr": "AE", "Value": [document["holder"] for document in row.documents]}
        answer["00080056"] = {"vr": "CS", "Value": [available[row.first["_id"]]]}
    return [dict(sorted(answer.items())) for answer in found]


def _to_json(
    row: Row, level: Level, query: Query, base: str, upper: dict[str, dict[str, Any]], headers: dict[str, bytes]
) -> dict[str, Any]:
    document = row.first
    found: dict[str, Any] = {}
    header = orjson.loads(headers[document["_id"]]) if document["_id"] in headers else {}
    if level is INSTANCES:
        found |= {tag: header[tag] for tag in FROM_HEADER if tag in header}
    for tag in query.include:
        found[tag] = header.get(tag) or {"vr": vr_of(tag)}
    if query.include_all:
        found |= {tag: element for tag, element in header.items() if "BulkDataURI" not in element}
    for above in LEVELS[: LEVELS.index(level) + 1]:
        source = document if above is level else upper.get(_upper_key(document, above), {})
        for attribute in OF_LEVEL[above]:
            wanted = attribute.default or query.include_all or attribute.tag in query.include
            if wanted and (above is level or attribute.match is not Match.NONE) and source:
                found[attribute.tag] = to_json(attribute, value_at(source, attribute.field))
    if level is STUDIES and document.get("resident_id"):
        found[OTHER_PATIENT_IDS] = _resident_sequence(query.resident or document["resident_id"])
    found["00081190"] = {"vr": "UR", "Value": [_url(document, level, base)]}
    return found


def _resident_sequence(resident_id: str) -> dict[str, Any]:
    """Who the EHR says the patient is, as Other Patient IDs Sequence (PS3.3 C.7.1.1)."""
    item = {"00100020": {"vr": "LO", "Value": [resident_id]}, "00100021": {"vr": "LO", "Value": [RESIDENT_ISSUER]}}
    return {"vr": "SQ", "Value": [item]}


def _upper_key(document: dict[str, Any], level: Level) -> str:
    return str(document["study_key"] if level is STUDIES else document["series_key"])


def _url(document: dict[str, Any], level: Level, base: str) -> str:
    url = f"{base}/studies/{document['study_uid']}"
    if level is not STUDIES:
        url += f"/series/{document['series_uid']}"
    return f"{url}/instances/{document['sop_instance_uid']}" if level is INSTANCES else url
