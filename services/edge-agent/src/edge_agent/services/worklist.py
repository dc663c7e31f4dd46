"""Modality worklist (PS3.4 K): the hospital's open orders, so that nobody types a patient id at a modality."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from edge_agent.services.charsets import declare
from edge_agent.services.find import PENDING, Result, failure
from edge_agent.services.identifiers import matches_wildcard
from imaging_common.events import OrderPlaced
from imaging_common.index.names import name_pattern, parse_person_name
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
CANCELLED, NO_MATCHING_IDENTIFIER, UNABLE = 0xFE00, 0xA900, 0xC001
_RANGE = re.compile(r"[0-9.]*-?[0-9.]*")
_STEP = "ScheduledProcedureStepSequence"
TEXT_KEYS = ("PatientID", "AccessionNumber", "RequestedProcedureID", "PatientBirthDate", "PatientSex")


class WorklistService:
    """Answers C-FIND of the Modality Worklist Information Model.

    Parameters
    ----------
    open_orders
        The worklist, in order of the scheduled time; blocks.
    """

    def __init__(self, open_orders: Callable[[], list[OrderPlaced]]) -> None:
        self._open_orders = open_orders

    def find(self, event: Any) -> Iterator[Result]:
        """On C-FIND: one pending response a scheduled procedure step."""
        try:
            identifier = event.identifier
            charset = declare(identifier)
            caller = str(event.assoc.requestor.ae_title).strip()
            for order in self._open_orders():
                if event.is_cancelled:
                    yield CANCELLED, None
                    return
                if matches(identifier, order):
                    yield PENDING, entry(identifier, order, charset, caller)
        except ValueError:
            yield failure(NO_MATCHING_IDENTIFIER, "a date or time range is malformed"), None
        except Exception as error:
            _log.error("worklist-failed", error=type(error).__name__)
            yield failure(UNABLE, "the worklist cannot be read"), None


def matches(identifier: Dataset, order: OrderPlaced) -> bool:
    """Whether an order matches (PS3.4 C.2.2.2, Table K.6-1); a key without a value matches everything.

    Raises
    ------
    ValueError
        A range of dates or times is malformed.
    """
    step = _step(identifier)
    attributes = _attributes(order, "")
    known = _step(attributes)
    name = _text(identifier, "PatientName")
    if name.strip("*") and not _name_matches(name, order.patient_name):
        return False
    for keyword in TEXT_KEYS:
        if not _text_matches(_text(identifier, keyword), _text(attributes, keyword)):
            return False
    uids = [uid for uid in _text(identifier, "StudyInstanceUID").split("\\") if uid]
    if uids and order.study_uid not in uids:
        return False
    station = _text(step, "ScheduledStationAETitle")
    if order.station_ae_title and not _text_matches(station, order.station_ae_title):
        return False
    return (
        _text_matches(_text(step, "Modality"), order.modality)
        and _in_range(_text(step, "ScheduledProcedureStepStartDate"), _text(known, "ScheduledProcedureStepStartDate"))
        and _in_range(_text(step, "ScheduledProcedureStepStartTime"), _text(known, "ScheduledProcedureStepStartTime"))
    )


def entry(identifier: Dataset, order: OrderPlaced, charset: str, caller: str) -> Dataset:
    """The attributes that were asked for; an order for any station is for the one that asks."""
    station = _text(_step(identifier), "ScheduledStationAETitle")
    known = _attributes(
        order, order.station_ae_title or (caller if not station or set(station) & {"*", "?"} else station)
    )
    found = _asked(identifier, known)
    found.SpecificCharacterSet = charset
    return found


def _attributes(order: OrderPlaced, station: str) -> Dataset:
    step = Dataset()
    step.Modality = order.modality
    step.ScheduledStationAETitle = station
    step.ScheduledProcedureStepStartDate = order.scheduled_at.strftime("%Y%m%d")
    step.ScheduledProcedureStepStartTime = order.scheduled_at.strftime("%H%M%S")
    step.ScheduledProcedureStepDescription = order.procedure
    step.ScheduledProcedureStepID = order.accession
    step.BodyPartExamined = order.body_part
    known = Dataset()
    known.AccessionNumber = order.accession
    known.ReferringPhysicianName = order.referring_physician
    known.PatientName = order.patient_name
    known.PatientID = order.patient_id
    known.PatientBirthDate = order.birth_date
    known.PatientSex = order.sex
    known.StudyInstanceUID = order.study_uid
    known.RequestedProcedureID = order.accession
    known.RequestedProcedureDescription = order.procedure
    known.RequestedProcedurePriority = "ROUTINE"
    known.RequestingPhysician = order.referring_physician
    known.ScheduledProcedureStepSequence = [step]
    return known


def _asked(identifier: Dataset, known: Dataset) -> Dataset:
    """Of what is known the asked part; a sequence that is asked for without an item is asked for as a whole."""
    found = Dataset()
    for element in identifier:
        if element.tag.group == 0 or element.VR == "UL":
            continue
        if element.keyword == _STEP:
            wanted = element.value[0] if element.value and len(element.value[0]) else _step(known)
            found.ScheduledProcedureStepSequence = [_asked(wanted, _step(known))]
        elif element.tag in known:
            found.add(known[element.tag])
        elif element.keyword != "SpecificCharacterSet":
            found.add_new(element.tag, _vr(element.tag, element.VR), [] if element.VR == "SQ" else None)
    return found


def _vr(tag: BaseTag, vr: str) -> str:
    try:
        return str(dictionary_VR(tag)).split(" ")[0]
    except KeyError:
        return vr


def _step(dataset: Dataset) -> Dataset:
    items = dataset.get(_STEP) or []
    return items[0] if items else Dataset()


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    if value is None:
        return ""
    if not isinstance(value, MultiValue):
        return str(value).strip()
    return "\\".join(map(str, value))


def _text_matches(key: str, value: str) -> bool:
    return not key.strip("*") or matches_wildcard(key, value)


def _name_matches(key: str, name: str) -> bool:
    """Han as written, or as pinyin; case and component delimiters do not matter (PS3.4 C.2.2.2.1)."""
    forms = parse_person_name(name).search
    groups = [group for group in key.split("=") if group.strip("*^ ")]
    return any(re.search(name_pattern(group, fuzzy=False), form) for group in groups for form in forms)


def _in_range(key: str, value: str) -> bool:
    """`a`, `a-b`, `a-`, `-b`; an end that is shorter than the value stands for all that begins with it."""
    key = key.replace(":", "")
    if not key.strip("*"):
        return True
    if not _RANGE.fullmatch(key):
        raise ValueError("not a range")
    first, dash, last = key.partition("-")
    if not dash:
        last = first
    first, last = first.split(".")[0], last.split(".")[0]
    return (not first or value >= first) and (not last or value[: len(last)] <= last)
