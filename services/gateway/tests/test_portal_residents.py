"""Who is the same person: likely matches with their reasons, one click to link and unlink, what the EHR said stays."""

import re
from typing import Any

import pytest

from gateway.model import tells
from gateway.usecases.review_patients import likeness
from imaging_common.access import Subject
from imaging_common.events import PatientLinked, PatientUnlinked, StudyChanged
from imaging_common.index.model import Patient
from imaging_common.index.names import parse_person_name

OPERATOR = "operator.region"


def patient(name: str, birth_date: str = "", sex: str = "") -> Patient:
    return Patient(id="1", name=parse_person_name(name), birth_date=birth_date, sex=sex)


@pytest.mark.parametrize(
    ("one", "other", "reasons"),
    [
        (("张^伟", "19700601", "M"), ("Zhang^Wei=张^伟", "19700601", "M"), ["name-han", "birth-equal", "sex-equal"]),
        (("张^伟", "19700601", "M"), ("ZHANG WEI", "19700106", "M"), ["name-pinyin", "birth-near", "sex-equal"]),
        (("Zhang^Wei", "19700601", ""), ("Zhang^Wej", "19700602", ""), ["name-similar", "birth-near"]),
        (("张^伟", "19700601", "M"), ("张^伟", "19820314", "F"), ["name-han", "birth-differs", "sex-differs"]),
        (("张^伟", "19700601", "M"), ("李^娜", "19700601", "M"), []),
        (("张^伟", "", ""), ("张^伟", "19700601", "M"), ["name-han"]),
    ],
)
def test_likeness_says_why(one: Any, other: Any, reasons: list[str]) -> None:
    assert list(likeness(patient(*one), patient(*other)).reasons) == reasons
    assert likeness(patient(*one), patient(*other)) == likeness(patient(*other), patient(*one))


def add(world: Any, uid: str, holder: str, number: str, name: str = "Zhang^Wei=张^伟=", **more: Any) -> None:
    birth = more.pop("birth_date", "19700601")
    world.add_study(
        uid,
        holder=holder,
        patient={
            "id": number, "issuer": "", "name": parse_person_name(name).model_dump(), "birth_date": birth, "sex": "M",
        },
        **more,
    )  # fmt: skip


async def test_unlinked_patient_is_listed_once_with_who_it_may_be(world: Any) -> None:
    add(world, "1.1", "community", "1001")
    add(world, "1.2", "community", "1001", study_date="20251120")
    add(world, "2.1", "secondary", "77", resident_id="R-5", linked_by="ehr")
    add(world, "2.2", "secondary", "78", name="Zhang^Wei", study_date="20251119")
    add(world, "2.3", "secondary", "79", name="Zhang^Wei=张^薇=", birth_date="19990101", resident_id="R-6")
    page = await (await world.signed_in(OPERATOR)).get("/portal/residents")
    assert re.findall(r'data-testid="unlinked-row" data-patient="([^"]+)"', page.text) == [
        "community^1001", "secondary^78",
    ]  # fmt: skip
    first = page.text.split('data-testid="unlinked-row"')[1]
    assert re.findall(r'data-testid="match" data-resident="([^"]*)"', first) == ["R-5", ""]
    assert "same name" in first
    assert "same birth date" in first
    assert "2 studies" in first
    assert world.audited[-1].reason == "residents"


async def test_one_click_links_and_another_takes_it_back(world: Any) -> None:
    add(world, "1.1", "community", "1001")
    browser = await world.signed_in(OPERATOR, **{"HX-Request": "true"})
    form = {"csrf": world.csrf(OPERATOR), "hospital": "community", "patient_id": "1001"}
    page = await browser.post("/portal/residents/link", data={**form, "resident_id": "R-5"})
    assert page.status_code == 200
    assert 'data-testid="message"' in page.text
    world.reader.collections["studies"]["community/1.1"] |= {"resident_id": "R-5", "linked_by": "operator"}
    world.reader.put("links", {"_id": "community^1001", "linked_by": "operator", "hospital": "community"})
    page = await browser.post("/portal/residents/rows", data={**form, "words": "1001"})
    assert page.text.count('data-testid="unlink"') == 2
    await browser.post("/portal/residents/unlink", data=form)
    assert world.patients.said == [
        PatientLinked(hospital="community", patient_id="1001", resident_id="R-5", revision=1, source="operator"),
        PatientUnlinked(hospital="community", patient_id="1001", revision=2, source="operator"),
    ]
    acts = [(e.action, e.outcome, e.study_uid) for e in world.audited if e.action in ("link", "unlink")]
    assert acts == [("link", "success", "1.1"), ("unlink", "success", "1.1")]


async def test_link_of_the_ehr_is_not_changed_here_and_the_page_says_so(world: Any) -> None:
    add(world, "1.1", "community", "1001", resident_id="R-5", linked_by="ehr")
    browser = await world.signed_in(OPERATOR, **{"HX-Request": "true"})
    form = {"csrf": world.csrf(OPERATOR), "hospital": "community", "patient_id": "1001", "words": "张伟"}
    page = await browser.post("/portal/residents/rows", data=form)
    assert 'data-testid="by-ehr"' in page.text
    assert 'data-testid="unlink"' not in page.text
    for path in ("link", "unlink"):
        page = await browser.post(f"/portal/residents/{path}", data={**form, "resident_id": "R-9"})
        assert "Not changed: the EHR" in page.text
    assert world.patients.said == []
    assert [(e.outcome, e.reason) for e in world.audited if e.action in ("link", "unlink")] == [("denied", "ehr")] * 2


async def test_nothing_is_said_for_nobody_or_a_malformed_resident(world: Any) -> None:
    add(world, "1.1", "community", "1001")
    browser = await world.signed_in(OPERATOR, **{"HX-Request": "true"})
    form = {"csrf": world.csrf(OPERATOR), "hospital": "community"}
    for patient_id, resident, said in (("9999", "R-1", "no such patient"), ("1001", "<script>", "letters, digits")):
        page = await browser.post(
            "/portal/residents/link", data={**form, "patient_id": patient_id, "resident_id": resident}
        )
        assert said in page.text
    assert world.patients.said == []


async def test_review_list_is_for_operators_and_changes_bring_the_forms_token(world: Any) -> None:
    assert (await (await world.signed_in()).get("/portal/residents")).status_code == 403
    browser = await world.signed_in(OPERATOR)
    assert (await browser.post("/portal/residents/link", data={"hospital": "community"})).status_code == 403
    assert world.patients.said == []


def test_operators_pages_learn_of_changed_studies() -> None:
    event = StudyChanged.model_validate(
        {"study_uid": "1.2", "holder": "tcm", "version": {"epoch": 1, "n": 1}, "tier": "central", "announced": True,
         "settled": True, "stored": False, "series_count": 1, "instance_count": 1, "announced_count": 1,
         "stored_count": 0, "rejected_count": 0, "modalities": [], "changed_at": "2026-11-24T00:00:00Z"}
    )  # fmt: skip
    assert tells(Subject("o", "", frozenset({"region-operator"})), event) == ["residents"]
    assert tells(Subject("o", "tcm", frozenset({"hospital-operator"})), event) == ["residents"]
    assert tells(Subject("o", "community", frozenset({"hospital-operator"})), event) == []
    assert tells(Subject("d", "tcm", frozenset({"doctor"})), event) == ["studies"]
