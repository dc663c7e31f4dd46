"""ORM^O01: orders for the modality worklist (HL7 v2.5 §4.4.1, IHE RAD-2, RAD-4)."""

import re
import uuid
from datetime import datetime, tzinfo

from imaging_common.events import OrderCancelled, OrderPlaced
from imaging_common.ids import is_uid
from imaging_common.reports.errors import UnreadableMessage
from imaging_common.reports.hl7v2 import Message, Segment, read_time
from imaging_common.reports.oru import ZONE
from imaging_common.reports.people import person_of, pn_of

_PLACED, _CANCELLED = frozenset({"NW", "XO", "XX"}), frozenset({"CA", "DC", "OC", "CR"})
_SPACE = uuid.UUID("5b1f9c7e-27f5-5a66-9a53-6f2e0a5c1c11")
_MODALITY = re.compile(r"[A-Z]{2,3}")


def read_orders(
    hospital: str, message: Message, revision: int, now: datetime, zone: tzinfo = ZONE
) -> list[OrderPlaced | OrderCancelled]:
    """The orders of an ORM^O01, all with the revision that counts the hospital's messages.

    Raises
    ------
    UnreadableMessage
        No ORM^O01, no order number, or an order without patient or modality.
    """
    if message.kind != "ORM^O01":
        raise UnreadableMessage("message-type", "MSH-9: only ORM^O01 brings orders", "AR")
    pid, orders = message.first("PID"), list[OrderPlaced | OrderCancelled]()
    for order, rest in _groups(message):
        control = order.field(1).strip().upper()
        request = next((segment for segment in rest if segment.name == "OBR"), None)
        number = order.part(2) or order.part(3) or (request.part(2) or request.part(3) if request else "")
        if not number:
            raise UnreadableMessage("no-order-id", "ORC-2 and ORC-3, the order's numbers, are missing")
        identity = uuid.uuid5(_SPACE, f"{hospital}/{number}")
        if control in _CANCELLED:
            orders.append(OrderCancelled(order_id=identity.hex, revision=revision))
        elif control in _PLACED:
            if pid is None or request is None:
                raise UnreadableMessage("no-patient", "an order needs PID and OBR segments")
            orders.append(_place(identity, number, revision, pid, order, request, rest, now, zone))
        else:
            raise UnreadableMessage("order-control", "ORC-1: only NW, XO, CA and DC are taken", "AR")
    if not orders:
        raise UnreadableMessage("no-orc", "the message has no ORC segment")
    return orders


def _groups(message: Message) -> list[tuple[Segment, list[Segment]]]:
    groups: list[tuple[Segment, list[Segment]]] = []
    for segment in message.segments:
        if segment.name == "ORC":
            groups.append((segment, []))
        elif groups:
            groups[-1][1].append(segment)
    return groups


def _place(
    identity: uuid.UUID,
    number: str,
    revision: int,
    pid: Segment,
    order: Segment,
    request: Segment,
    rest: list[Segment],
    now: datetime,
    zone: tzinfo,
) -> OrderPlaced:
    person = person_of(pid)
    modality = request.part(24).upper()
    if not person.id or not person.name:
        raise UnreadableMessage("no-patient", "PID-3 or PID-5, the patient's id or name, is missing")
    if not _MODALITY.fullmatch(modality):
        raise UnreadableMessage("no-modality", "OBR-24 names no modality")
    when = request.part(36) or order.part(7, 4) or request.part(27, 4) or request.part(6)
    accession = request.part(18) or order.part(3) or number
    if len(accession) > 16:
        accession = identity.hex[:16]
    named = next((segment.part(1) for segment in rest if segment.name == "ZDS"), "")
    start = read_time(when, zone) or now
    referring = pn_of(
        ["^".join(request.marks.part(request.repeats(16)[0], place) for place in (2, 3, 4))], request.marks
    )
    return OrderPlaced(
        order_id=identity.hex,
        revision=revision,
        accession=accession,
        patient_id=person.id,
        patient_name=person.name,
        birth_date=person.birth_date,
        sex=person.sex,
        modality=modality,
        station_ae_title=request.part(21)[:16],
        scheduled_at=start.astimezone(zone),
        procedure=(request.part(4, 2) or request.part(4, 1))[:64],
        body_part=request.part(15, 4)[:16] if request.part(15, 4).isascii() else "",
        referring_physician=referring[:194],
        study_uid=named if is_uid(named) else f"2.25.{identity.int}",
    )
