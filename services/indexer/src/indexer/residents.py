"""Who a hospital's patient is: statements of the EHR and of operators, and which of them holds. Without I/O.

Of each source the statement with the highest revision counts. While the EHR says that a patient is a resident, that
holds, whatever an operator says, before or after; else what an operator says. An unlinking takes back only the link of
its own source.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from imaging_common.events import PatientLinked, PatientUnlinked
from indexer.model import Document

Source = Literal["ehr", "operator"]


class Link(NamedTuple):
    """What holds for a patient: the resident's id as stated (merges are followed by readers), and who said so."""

    resident_id: str | None
    linked_by: Literal["", "ehr", "operator"]


UNLINKED = Link(None, "")


def patient_key(hospital: str, patient_id: str) -> str:
    """The patient's `_id` in `index.links`: the issuer of the id and the id; empty without an id."""
    return f"{hospital}^{patient_id}" if patient_id else ""


def heard(document: Document, event: PatientLinked | PatientUnlinked) -> Document:
    """The patient's document after the statement; an older one changes nothing, whatever the order they come in.

    Two statements of one source with the same revision contradict the contract; the greater resident id counts then,
    so that the end does not depend on their order.
    """
    statements: dict[str, Document] = dict(document.get("statements", {}))
    said: Document = {"revision": event.revision, "resident_id": getattr(event, "resident_id", None)}
    known = statements.get(event.source)
    if known is None or _rank(known) < _rank(said):
        statements[event.source] = said
    link = holding(statements)
    changed = link != Link(document.get("resident_id"), document.get("linked_by", ""))
    return {
        **document,
        "hospital": event.hospital,
        "patient_id": event.patient_id,
        "statements": statements,
        **link._asdict(),
        "revision": document.get("revision", 0) + changed,
    }


def _rank(statement: Mapping[str, object]) -> tuple[int, str]:
    return int(str(statement["revision"])), str(statement["resident_id"] or "")


def holding(statements: Mapping[str, Document]) -> Link:
    """The link that holds."""
    sources: tuple[Source, ...] = ("ehr", "operator")
    for source in sources:
        resident = statements.get(source, {}).get("resident_id")
        if resident:
            return Link(str(resident), source)
    return UNLINKED
