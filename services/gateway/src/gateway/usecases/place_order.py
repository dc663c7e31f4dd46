"""An imaging order for the modality worklist of the person's own hospital: typed once, and never at the modality."""

import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.model import Order
from gateway.ports import OrderBook
from imaging_common.audit import AuditTrail, who
from imaging_common.auth import Claims
from imaging_common.events import OrderPlaced
from imaging_common.index.names import pinyin_name

MODALITIES = ("CR", "CT", "DX", "MG", "MR", "US", "XA", "RF", "ES", "IO", "PX", "OT")
ORDER_ROLES = frozenset({"doctor", "hospital-operator"})
REQUIRED = ("patient_id", "name", "modality", "date", "time")
FIELDS = (*REQUIRED, "latin", "birth_date", "sex", "body_part", "procedure", "station", "referring")
CONTROL = re.compile(r"[\x00-\x1f\\\x7f]")


class BadOrder(ValueError):
    """A field cannot be taken; the text is its name."""


def read_order(form: Mapping[str, str], hospital: str, zone: ZoneInfo) -> OrderPlaced:
    """The order that a form describes (PS3.4 K.6.1.2.2), with a new id, accession number and Study Instance UID.

    Raises
    ------
    BadOrder
        Names the field.
    """
    for name in FIELDS:
        if CONTROL.search(form.get(name, "")) or (name in REQUIRED and not form.get(name, "").strip()):
            raise BadOrder(name)
    if form["modality"] not in MODALITIES:
        raise BadOrder("modality")
    try:
        scheduled = datetime.fromisoformat(f"{form['date']}T{form['time']}").replace(tzinfo=zone)
    except ValueError as error:
        raise BadOrder("date") from error
    birth = form.get("birth_date", "").replace("-", "")
    if birth and not re.fullmatch(r"\d{8}", birth):
        raise BadOrder("birth_date")
    unique = uuid.uuid4()
    try:
        return OrderPlaced(
            order_id=unique.hex,
            revision=1,
            accession=f"W{scheduled:%y%m%d}{unique.hex[:8].upper()}",
            patient_id=form["patient_id"].strip(),
            patient_name=patient_name(form["name"], form.get("latin", "")),
            birth_date=birth,
            sex=form.get("sex", ""),
            modality=form["modality"],
            station_ae_title=form.get("station", "").strip(),
            scheduled_at=scheduled,
            procedure=form.get("procedure", "").strip(),
            body_part=form.get("body_part", "").strip().upper(),
            referring_physician=form.get("referring", "").strip(),
            study_uid=f"2.25.{unique.int}",
        )
    except ValueError as error:
        raise BadOrder(_field_at_fault(error)) from error


def patient_name(written: str, latin: str) -> str:
    """A PN value (PS3.5 §6.2.1): alphabetic, and ideographic where the name is written in Han."""
    written, latin = written.strip(), latin.strip()
    if written.isascii():
        return written
    alphabetic = latin or pinyin_name(written)
    return f"{alphabetic}={written}"


def _field_at_fault(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    where = errors()[0]["loc"][0] if errors else ""
    return {"station_ae_title": "station", "patient_name": "name", "referring_physician": "referring"}.get(where, where)


async def place_order(book: OrderBook, audit: AuditTrail, claims: Claims, order: OrderPlaced) -> None:
    """Keep the order and send it to the hospital's edge agent; recorded."""
    record = audit.event(action="order", outcome="success", **who(claims), study_uid=order.study_uid)
    await book.place(Order(hospital=claims.hospital, placed_by=claims.user, order=order), record)


async def cancel_order(book: OrderBook, audit: AuditTrail, claims: Claims, order_id: str) -> bool:
    """Take an order of the own hospital back; False: there is none that is open."""
    record = audit.event(action="order", outcome="success", reason="cancelled", **who(claims))
    return await book.cancel(claims.hospital, order_id, record) is not None
