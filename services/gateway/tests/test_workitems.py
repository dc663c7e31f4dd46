"""Cases as UPS-RS work items: what a hospital's RIS searches and reads, parsed by pydicom as it would."""

from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset

from gateway.workitems.cases import PAGE
from gateway.workitems.fake_cases import fake_case as case
from gateway.workitems.model import STATES, consult_of, consult_states, step_state, uid_of
from gateway.workitems.query import BadSearch, parse_search

ITEMS = "/dicomweb/workitems"


@pytest.fixture
def region(world: Any) -> Any:
    """Five cases in the boxes of the secondary hospital's expert."""
    expert = {"expert": "expert.secondary", "expert_name": "周敏", "expert_hospital": "secondary"}
    cases = [
        case(1),
        case(2, state="returned", urgency="emergency"),
        case(3, state="reading", **expert),
        case(4, state="issued", **expert, report={"issued_at": "2026-11-24T09:00:00Z", "version": 1}),
        case(5, state="withdrawn"),
    ]
    world.desk.cases |= {one["id"]: one for one in cases}
    return world


def ris(world: Any, user: str = "expert.secondary") -> httpx.AsyncClient:
    return world.browser(Accept="application/dicom+json", Authorization=f"Bearer bearer-{user}")


async def found(world: Any, **params: Any) -> list[Dataset]:
    answer = await ris(world).get(ITEMS, params=params)
    assert answer.status_code in (200, 206), answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    return [Dataset.from_json(item) for item in answer.json()]


def numbers(items: list[Dataset]) -> list[int]:
    return [int(str(item.PatientID)[-1]) for item in items]


async def test_cases_are_listed_as_unified_procedure_steps(region: Any) -> None:
    items = await found(region)
    assert numbers(items) == [5, 4, 3, 2, 1]
    states = ["CANCELED", "COMPLETED", "IN PROGRESS", "SCHEDULED", "SCHEDULED"]
    assert [item.ProcedureStepState for item in items] == states
    reading, first = items[2], items[4]
    assert first.SOPClassUID == "1.2.840.10008.5.1.4.34.6.1"
    assert first.SOPInstanceUID == "2.25.1"
    assert (first.PatientName.ideographic, first.PatientID, first.PatientSex) == ("张伟", "P-001", "M")
    assert first.ScheduledStationNameCodeSequence[0].CodeValue == "secondary"
    assert first.ScheduledStationNameCodeSequence[0].CodeMeaning == "一院"
    assert first.ScheduledWorkitemCodeSequence[0].CodeValue == "110005"
    assert first.ScheduledProcedureStepStartDateTime == "20261124113000+0800"
    assert first.ExpectedCompletionDateTime == "20261125113000+0800"
    assert first.AdmittingDiagnosesCodeSequence[0].CodeValue == "R91.1"
    assert list(first.AdmittingDiagnosesDescription) == ["孤立性肺结节", "咳嗽"]
    request = first.ReferencedRequestSequence[0]
    assert (request.StudyInstanceUID, request.RequestedProcedureID) == ("1.2.1", "C-20261124-0001")
    assert request.ReasonForTheRequestedProcedure == "结节性质？"
    source = first.InputInformationSequence[0].WADORSRetrievalSequence[0].RetrieveURL
    assert source == "http://portal.test/dicomweb/hospitals/community/studies/1.2.1"
    assert reading.ScheduledHumanPerformersSequence[0].HumanPerformerName.ideographic == "周敏"
    assert len(reading.UnifiedProcedureStepPerformedProcedureSequence) == 1


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("ProcedureStepState", "SCHEDULED", [2, 1]),
        ("00741000", "IN PROGRESS", [3]),
        ("ProcedureStepState", "COMPLETED", [4]),
        ("ProcedureStepState", "CANCELED,IN PROGRESS", [5, 3]),
        ("ProcedureStepState", "NONE", []),
        ("InputReadinessState", "INCOMPLETE", [2]),
        ("PatientID", "P-003", [3]),
        ("PatientID", "P-*", [5, 4, 3, 2, 1]),
        ("PatientName", "张*", [5, 4, 3, 2, 1]),
        ("PatientName", "李*", []),
        ("ScheduledProcedureStepPriority", "HIGH", [2]),
        ("ScheduledStationNameCodeSequence.CodeValue", "secondary", [5, 4, 3, 2, 1]),
        ("00404025.00080100", "tertiary", []),
        ("ReferencedRequestSequence.StudyInstanceUID", "1.2.2,1.2.4", [4, 2]),
        ("ScheduledProcedureStepStartDateTime", "20261124123000-20261124133000", [3, 2]),
        ("ScheduledProcedureStepStartDateTime", "2026112414-", [5, 4]),
        ("ScheduledProcedureStepStartDateTime", "-20261123", []),
        ("ScheduledProcedureStepStartDateTime", "202611", [5, 4, 3, 2, 1]),
        ("ScheduledProcedureStepStartDateTime", "20261124033000+0000", [1]),
    ],
)
async def test_search_matches_by_key(region: Any, key: str, value: str, expected: list[int]) -> None:
    answer = await ris(region).get(ITEMS, params={key: value})
    items = [Dataset.from_json(item) for item in answer.json()] if answer.status_code == 200 else []
    assert (numbers(items), answer.status_code) == (expected, 200 if expected else 204)


async def test_pages_tell_that_there_are_more(region: Any) -> None:
    answer = await ris(region).get(ITEMS, params={"limit": "2", "offset": "1"})
    assert [int(item["00100020"]["Value"][0][-1]) for item in answer.json()] == [4, 3]
    assert answer.status_code == 206
    assert answer.headers["warning"] == '299 gateway "There are 2 additional results that can be requested"'


async def test_only_open_states_are_asked_for_when_the_search_names_one(region: Any) -> None:
    await found(region, ProcedureStepState="SCHEDULED")
    asked = {(params["box"], params.get("state")) for _, params in region.desk.asked}
    assert {state for _, state in asked} == {"submitted", "returned", "accepted", "assigned"}
    assert "drafts" not in {box for box, _ in asked}


async def test_long_lists_are_read_to_their_end(region: Any) -> None:
    region.desk.cases |= {one["id"]: one for one in (case(n) for n in range(10, 10 + PAGE))}
    assert len(await found(region, limit="1000")) == PAGE + 5


async def test_item_is_retrieved_by_its_uid(region: Any) -> None:
    region.desk.cases[f"{4:032x}"]["report"]["outputs"] = {"stored": True, "pdf_instance_uid": "1.2.900"}
    answer = await ris(region).get(f"{ITEMS}/{uid_of(f'{4:032x}')}")
    (item,) = [Dataset.from_json(one) for one in answer.json()]
    performed = item.UnifiedProcedureStepPerformedProcedureSequence[0]
    assert performed.PerformedProcedureStepEndDateTime == "20261124170000+0800"
    assert performed.OutputInformationSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.900"
    canceled = await ris(region).get(f"{ITEMS}/2.25.5")
    assert Dataset.from_json(canceled.json()[0]).ProcedureStepProgressInformationSequence


@pytest.mark.parametrize("uid", ["2.25.99", "1.2.3", "2.25.x", "2.25.01", f"2.25.{1 << 128}"])
async def test_unknown_item_is_not_found(region: Any, uid: str) -> None:
    assert (await ris(region).get(f"{ITEMS}/{uid}")).status_code == 404


async def test_draft_is_no_work_item(region: Any) -> None:
    region.desk.cases[f"{9:032x}"] = case(9, state="draft")
    assert (await ris(region).get(f"{ITEMS}/2.25.9")).status_code == 404
    assert 9 not in numbers(await found(region))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"Colour": "red"}, "neither a keyword nor a tag"),
        ({"ScheduledStationNameCodeSequence": "x"}, "name an attribute in it"),
        ({"limit": "many"}, "limit is not a whole number"),
        ({"ScheduledProcedureStepStartDateTime": "yesterday"}, "not a date and time"),
        ({"ScheduledProcedureStepStartDateTime": "20261399"}, "is none"),
        ({"PatientID": "x" * 2000}, "too long"),
    ],
)
async def test_bad_search_says_what_is_wrong(region: Any, params: dict[str, str], words: str) -> None:
    answer = await ris(region).get(ITEMS, params=params)
    assert answer.status_code == 400
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""), ("POST", "/2.25.1"), ("PUT", "/2.25.1/state"), ("POST", "/2.25.1/cancelrequest"),
        ("POST", "/2.25.1/subscribers/RIS"), ("DELETE", "/2.25.1/subscribers/RIS"),
    ],
)  # fmt: skip
async def test_work_items_are_not_changed_here(region: Any, method: str, path: str) -> None:
    answer = await ris(region).request(method, ITEMS + path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert "searched and read here" in answer.json()["detail"]


async def test_who_has_no_part_in_cases_gets_an_empty_list_and_nobody_none(region: Any) -> None:
    assert (await ris(region, "ehr-residents").get(ITEMS)).status_code == 204
    assert not region.desk.asked
    assert (await region.browser().get(ITEMS)).status_code == 401
    other = region.browser(Accept="application/dicom+xml", Authorization="Bearer bearer-expert.secondary")
    assert (await other.get(ITEMS)).status_code == 406
    region.desk.away = True
    assert (await ris(region).get(ITEMS)).status_code == 503


def test_every_state_has_a_step_and_an_amended_report_stays_completed() -> None:
    steps = {step_state({"state": state}) for state in STATES}
    assert steps == {"SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"}
    assert step_state({"state": "drafted", "amendment_reason": "typing error"}) == "COMPLETED"
    assert step_state({"state": "draft"}) is None
    assert consult_states("CANCELED") == {"rejected", "withdrawn"}
    assert consult_states("COMPLETED") is None


async def test_long_texts_and_codes_fit_their_attributes(region: Any) -> None:
    user = "a.very.long.user.name@clinic.example"
    long = {"expert": user, "expert_name": "Ada", "purpose": "一\\二\n" * 40, "number": "C-20261124-0007"}
    region.desk.cases |= {f"{7:032x}": case(7, diagnoses=[{"code": "R91.1", "text": "长" * 200}], **long)}
    (item,) = await found(region, PatientID="P-007")
    assert item.ReferencedRequestSequence[0].ReasonForTheRequestedProcedure.startswith("一/二 一/二")
    assert len(item.AdmittingDiagnosesDescription) == 64
    code = item.ScheduledHumanPerformersSequence[0].HumanPerformerCodeSequence[0]
    assert (code.LongCodeValue, "CodeValue" in code) == (user, False)


async def test_list_that_is_too_long_asks_for_a_state(region: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.workitems.cases.PAGE", 2)
    monkeypatch.setattr("gateway.workitems.cases.MAX_CASES", 2)
    answer = await ris(region).get(ITEMS)
    assert (answer.status_code, "narrow the search by state" in answer.json()["detail"]) == (413, True)
    assert (await ris(region).get(ITEMS, params={"ProcedureStepState": "CANCELED"})).status_code == 200


def test_uid_is_the_case() -> None:
    assert consult_of(uid_of("f" * 32)) == "f" * 32
    assert len(uid_of("f" * 32)) <= 64
    assert parse_search([("limit", "5000"), ("PatientID", "")]).limit == 1000
    with pytest.raises(BadSearch, match="narrow"):
        parse_search([("offset", "100001")])
