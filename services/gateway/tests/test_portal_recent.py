"""The reminder in the order form: similar recent examinations that the orderer may see."""

from datetime import UTC, datetime
from typing import Any

ASKED = {"patient_id": "P-001", "modality": "CT", "body_part": "chest"}


async def asked(world: Any, browser: Any, user: str = "doctor.community", **changes: str) -> str:
    form = {**ASKED, **changes, "csrf": world.csrf(user)}
    return str((await browser.post("/portal/orders/recent", data=form)).text)


async def test_similar_examinations_of_the_person_are_shown_with_their_images(world: Any) -> None:
    today = f"{datetime.now(UTC):%Y%m%d}"
    world.add_study("1.2.1", study_date=today, resident_id="R-1")
    world.add_study("1.2.2", study_date=today, modalities=["MR"])
    world.add_study("1.2.3", study_date="20240101")
    world.add_study("1.2.4", holder="secondary", study_date=today, resident_id="R-1")
    doctor, expert = await world.signed_in(), await world.signed_in("expert.secondary")
    page = await asked(world, doctor)
    assert 'data-study="1.2.1"' in page
    assert "/viewer?StudyInstanceUIDs=1.2.1" in page
    assert all(uid not in page for uid in ("1.2.2", "1.2.3", "1.2.4"))
    assert (world.audited[-1].reason, world.audited[-1].resident_id) == ("recent-examinations", "R-1")
    assert 'data-study="1.2.1"' in await asked(world, doctor, patient_id="R-1")
    assert "1.2.4" in await asked(world, expert, "expert.secondary", patient_id="R-1")


async def test_nothing_is_said_before_somebody_is_named_and_nobody_else_is_shown(world: Any) -> None:
    doctor = await world.signed_in()
    assert (await asked(world, doctor, patient_id="")).strip() == ""
    assert "recent-none" in await asked(world, doctor, patient_id="P-404")
    page = await doctor.get("/portal/orders")
    assert 'hx-post="/portal/orders/recent"' in page.text
