"""Orders for the worklist, and what operators do with studies of the central tier, over fakes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.model import StudyCommands
from imaging_common.events import OrderPlaced

OPERATOR = "operator.region"
ORDER = {
    "patient_id": "P-001",
    "name": "王小东",
    "birth_date": "1970-06-01",
    "sex": "M",
    "modality": "CT",
    "body_part": "chest",
    "procedure": "胸部平扫",
    "date": "2026-11-25",
    "time": "09:30",
}


async def placed(world: Any, browser: Any = None, **changes: str) -> Any:
    browser = browser or await world.signed_in()
    return await browser.post("/portal/orders", data={**ORDER, **changes, "csrf": world.csrf()})


async def test_order_is_placed_with_the_name_in_both_scripts_and_sent_to_the_own_hospital(world: Any) -> None:
    answer = await placed(world)
    assert answer.status_code == 303
    (order,) = world.orders.orders.values()
    event: OrderPlaced = order.order
    assert order.hospital == "community"
    assert event.patient_name == "Wang^Xiaodong=王小东"
    assert (event.birth_date, event.body_part, event.modality) == ("19700601", "CHEST", "CT")
    assert event.scheduled_at.isoformat() == "2026-11-25T09:30:00+08:00"
    assert len(event.accession) <= 16
    assert world.audited[-1].action == "order"
    page = await (await world.signed_in()).get("/portal/orders")
    assert event.accession in page.text


@pytest.mark.parametrize(
    ("field", "value"), [("patient_id", ""), ("name", "a\\b"), ("modality", "??"), ("date", "soon"), ("sex", "X")]
)
async def test_field_that_cannot_be_taken_is_named_and_nothing_is_lost(world: Any, field: str, value: str) -> None:
    answer = await placed(world, **{field: value})
    assert answer.status_code == 422
    assert "cannot be taken" in answer.text
    assert "胸部平扫" in answer.text
    assert world.orders.orders == {}


async def test_order_is_taken_back_by_the_own_hospital_only(world: Any) -> None:
    own = await world.signed_in()
    await placed(world, own)
    (order_id,) = world.orders.orders
    stranger = await world.signed_in("expert.secondary")
    form = {"csrf": world.csrf("expert.secondary")}
    assert (await stranger.post(f"/portal/orders/{order_id}/cancel", data=form)).status_code == 404
    assert (await own.post(f"/portal/orders/{order_id}/cancel", data={"csrf": world.csrf()})).status_code == 303
    assert world.orders.orders[order_id].cancelled


async def test_only_operators_delete(world: Any) -> None:
    world.add_study("1.2.3")
    doctor = await world.signed_in()
    form = {"holder": "community", "study_uid": "1.2.3", "revision": "0", "reason": "113001", "csrf": world.csrf()}
    assert (await doctor.post("/portal/removal/delete", data=form)).status_code == 403
    assert world.commands.commands == {}


async def test_operator_deletes_sees_until_when_and_restores(world: Any) -> None:
    world.add_study("1.2.3")
    operator = await world.signed_in(OPERATOR)
    csrf = world.csrf(OPERATOR)
    found = await operator.post("/portal/removal/search", data={"words": "A-77", "csrf": csrf})
    assert 'data-study="1.2.3"' in found.text
    form = {"holder": "community", "study_uid": "1.2.3", "revision": "0", "reason": "113001", "csrf": csrf}
    assert (await operator.post("/portal/removal/delete", data=form)).status_code == 200
    assert world.commands.commands["community", "1.2.3"].deleted
    assert world.audited[-1].action == "delete"
    stale = await operator.post("/portal/removal/restore", data=form)
    assert stale.status_code == 409
    done = await operator.post("/portal/removal/restore", data={**form, "revision": "1"})
    assert "Restored" in done.text
    assert not world.commands.commands["community", "1.2.3"].deleted


async def test_study_on_hold_is_not_deleted(world: Any) -> None:
    world.add_study("1.2.3")
    operator = await world.signed_in(OPERATOR)
    form = {"holder": "community", "study_uid": "1.2.3", "reason": "113001", "csrf": world.csrf(OPERATOR)}
    await operator.post("/portal/removal/hold", data={**form, "revision": "0"})
    refused = await operator.post("/portal/removal/delete", data={**form, "revision": "1"})
    assert refused.status_code == 409
    assert not world.commands.commands["community", "1.2.3"].deleted


async def test_study_that_a_hospital_keeps_in_its_pacs_or_that_nobody_has_is_not_deleted_here(world: Any) -> None:
    world.add_study("1.2.3", holder="secondary", tier="distributed")
    operator = await world.signed_in(OPERATOR)
    form = {"holder": "secondary", "revision": "0", "reason": "113001", "csrf": world.csrf(OPERATOR)}
    for study_uid in ("1.2.3", "9.9"):
        answer = await operator.post("/portal/removal/delete", data={**form, "study_uid": study_uid})
        assert answer.status_code == 409
    assert world.commands.commands == {}


async def test_study_is_not_restored_after_its_retention(world: Any) -> None:
    world.add_study("1.2.3")
    past = datetime.now(UTC) - timedelta(minutes=1)
    commands = StudyCommands(holder="community", study_uid="1.2.3", revision=1, deleted=True, purge_after=past)
    world.commands.commands["community", "1.2.3"] = commands
    operator = await world.signed_in(OPERATOR)
    form = {"holder": "community", "study_uid": "1.2.3", "revision": "1", "csrf": world.csrf(OPERATOR)}
    assert (await operator.post("/portal/removal/restore", data=form)).status_code == 409
    assert world.commands.commands["community", "1.2.3"] == commands
