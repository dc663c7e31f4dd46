"""The modality worklist by DCMTK's `findscu -W`, and what becomes of orders."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from edge_agent.adapters.journal import Journal
from edge_agent.adapters.order_journal import OrderJournal
from edge_agent.handlers import build_order_router
from edge_agent.model import Arrival
from edge_agent.services.worklist import matches
from imaging_common.events import Envelope, OrderCancelled, OrderPlaced, StudyAvailable

STEP = "ScheduledProcedureStepSequence[0]."
ASKED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "RequestedProcedureID"),
    *("AccessionNumber", "RequestedProcedureDescription", "ReferencedStudySequence", f"{STEP}ScheduledStationAETitle"),
    *(f"{STEP}ScheduledProcedureStepStartDate", f"{STEP}ScheduledProcedureStepStartTime", f"{STEP}Modality"),
    *(f"{STEP}ScheduledProcedureStepID", f"{STEP}ScheduledProcedureStepDescription"),
)
SOON = datetime.now().replace(hour=9, minute=30, second=0, microsecond=0) + timedelta(days=1)


def order(order_id: str = "o1", revision: int = 1, **fields: Any) -> OrderPlaced:
    values: dict[str, Any] = {
        "order_id": order_id, "revision": revision, "accession": "A100", "patient_id": "1001",
        "patient_name": "Wang^Xiaodong=王^小东", "birth_date": "19700101", "sex": "M", "modality": "CT",
        "station_ae_title": "CT1", "scheduled_at": SOON, "procedure": "胸部CT平扫", "study_uid": generate_uid(),
    }  # fmt: skip
    return OrderPlaced.model_validate(values | fields)


async def test_modality_finds_its_orders(station: Any) -> None:
    orders = OrderJournal(station.journal)
    ct = order()
    orders.put(ct)
    orders.put(order("o2", accession="A200", modality="DX", station_ae_title="", patient_name="Li^Na=李^娜"))
    (found,) = await station.find(*ASKED, f"{STEP}Modality=CT", model="-W")
    assert (found.PatientID, found.AccessionNumber, found.StudyInstanceUID) == ("1001", "A100", ct.study_uid)
    assert (found.SpecificCharacterSet, found.PatientName.ideographic) == ("ISO_IR 192", "王^小东")
    assert found.RequestedProcedureDescription == "胸部CT平扫"
    assert (found.PatientBirthDate, found.PatientSex, found.RequestedProcedureID) == ("19700101", "M", "A100")
    (step,) = found.ScheduledProcedureStepSequence
    assert (step.ScheduledStationAETitle, step.Modality) == ("CT1", "CT")
    assert step.ScheduledProcedureStepStartDate == f"{SOON:%Y%m%d}"
    assert step.ScheduledProcedureStepStartTime == "093000"
    (other,) = await station.find(*ASKED, "PatientName=李*", model="-W")
    assert other.ScheduledProcedureStepSequence[0].ScheduledStationAETitle == "FINDSCU"
    orders.cancel("o2", 2)
    assert len(await station.find(*ASKED, model="-W")) == 1


def identifier(**keys: str) -> Dataset:
    asked, step = Dataset(), Dataset()
    for keyword, value in keys.items():
        setattr(step if keyword in ("Modality",) or keyword.startswith("Scheduled") else asked, keyword, value)
    asked.ScheduledProcedureStepSequence = [step]
    return asked


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({}, True),
        ({"ScheduledStationAETitle": "CT1"}, True),
        ({"ScheduledStationAETitle": "CT2"}, False),
        ({"ScheduledProcedureStepStartDate": f"{SOON:%Y%m%d}"}, True),
        ({"ScheduledProcedureStepStartDate": f"{SOON:%Y%m%d}-"}, True),
        ({"ScheduledProcedureStepStartDate": f"-{SOON - timedelta(days=1):%Y%m%d}"}, False),
        ({"ScheduledProcedureStepStartTime": "09-10"}, True),
        ({"ScheduledProcedureStepStartTime": "100000-120000"}, False),
        ({"Modality": "MR"}, False),
        ({"PatientName": "王*"}, True),
        ({"PatientName": "wang^xiao*"}, True),
        ({"PatientName": "李*"}, False),
        ({"PatientID": "100?"}, True),
        ({"AccessionNumber": "A1000"}, False),
        ({"RequestedProcedureID": "A100"}, True),
    ],
)
def test_order_matches(keys: dict[str, str], found: bool) -> None:
    assert matches(identifier(**keys), order()) is found


async def test_newest_statement_counts_and_orders_leave_when_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    now = [datetime(2026, 11, 24, 8)]
    orders = OrderJournal(journal, lambda: now[0])
    router = build_order_router("community", orders)
    topic = "edge-commands-community"
    envelope = Envelope(id="1", type="", source="", time=now[0], topic=topic)

    async def say(event: Any) -> None:
        handler = router.find(event.type_name(), topic)
        assert handler is not None
        await handler(event, envelope)

    at = datetime(2026, 11, 24, 9)
    await say(order(revision=2, accession="NEW", scheduled_at=at))
    await say(order(revision=1, accession="OLD", scheduled_at=at))
    assert [one.accession for one in orders.open_orders()] == ["NEW"]
    await say(OrderCancelled(order_id="o3", revision=5))
    await say(order("o3", 4, scheduled_at=at))
    assert len(orders.open_orders()) == 1
    done = order("o4", scheduled_at=at)
    await say(done)
    journal.add([Arrival(done.study_uid, "1.2", "1.3", "a" * 64, 1)])
    assert len(orders.open_orders()) == 2
    journal.announce(
        done.study_uid,
        lambda n, known, _: (
            "edge-events-community",
            StudyAvailable(
                study_uid=done.study_uid, announcement=n, basis="quiet", instances=known, announced_at=now[0]
            ),
        ),
    )
    assert [one.order_id for one in orders.open_orders()] == ["o1"]
    now[0] = datetime(2026, 11, 25, 9, 1)
    assert orders.open_orders() == []
    journal.close()
