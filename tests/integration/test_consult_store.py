"""The stores of consult and notification: one contract, on the fake and on a real MongoDB; several copies at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from consult.adapters.fake_consults import FakeConsultStore, FakeHospitalBook
from consult.adapters.mongo_consults import MongoConsultStore
from consult.adapters.mongo_hospitals import MongoHospitalBook
from consult.errors import Conflict
from consult.model import Action, Application, Consult, ReportText, State
from consult.ports import ConsultStore, HospitalBook
from consult.usecases import Consults
from imaging_common import mongo
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims
from imaging_common.events import NoticeRaised, StudyReleased
from imaging_common.messaging.outbox import Outbox
from imaging_common.messaging.outbox_publisher import OutboxPublisher
from imaging_common.settings import ServiceSettings
from notification.adapters.fake_notices import FakeNoticeBook
from notification.adapters.mongo_notices import MongoNoticeBook
from notification.ports import NoticeBook

DOCTOR = Claims("doctor.community", "community", frozenset({"doctor"}), "陈建国")
EXPERT = Claims("expert.secondary", "secondary", frozenset({"doctor", "expert"}), "周敏")
RIVALS = [Claims(f"rival{n}.secondary", "secondary", frozenset({"expert"}), f"专家{n}") for n in range(8)]
NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
Sent = Callable[[], Awaitable[list[tuple[str, str, str]]]]
KINDS = pytest.mark.parametrize("kind", ["fake", "mongo"])


@pytest.fixture
async def client(servers: Any) -> AsyncIterator[Any]:
    client = mongo.connect(ServiceSettings(mongo_url=servers.mongodb.url("root")))
    yield client
    await client.close()


@pytest.fixture
async def database(client: Any) -> AsyncIterator[Any]:
    database = client[f"consult-{uuid4().hex[:8]}"]
    yield database
    await client.drop_database(database)


async def in_outbox(database: Any) -> list[tuple[str, str, str]]:
    """(topic, event type, key) of what waits to be relayed, per topic and key in its order."""
    documents = database["events"].find().sort([("stream", 1), ("n", 1)])
    return [(document["topic"], document["type"], document["key"]) async for document in documents]


@pytest.fixture
async def store(kind: str, client: Any, database: Any) -> ConsultStore:
    if kind == "fake":
        return FakeConsultStore()
    store = MongoConsultStore(client, database.name, Outbox(database))
    await store.prepare()
    return store


@pytest.fixture
def sent(store: ConsultStore, database: Any) -> Sent:
    async def read() -> list[tuple[str, str, str]]:
        if isinstance(store, FakeConsultStore):
            return [(topic, event.type_name(), key) for topic, event, key in store.sent]
        return await in_outbox(database)

    return read


@pytest.fixture
async def consults(store: ConsultStore, kind: str, database: Any) -> Consults:
    book: HospitalBook = FakeHospitalBook("secondary") if kind == "fake" else MongoHospitalBook(database)
    await book.keep("secondary", 1)
    return Consults(store, book, AuditTrail("consult", OutboxPublisher(Outbox(database, "looks"))))


def released(consult: Consult) -> list[tuple[str, StudyReleased, str]]:
    return [("study-used", StudyReleased(study_uid="1.2.3", holder="community", case_id=consult.id), "1.2.3")]


async def make(store: ConsultStore, number: str = "", **more: Any) -> Consult:
    fields: dict[str, Any] = {
        "id": uuid4().hex,
        "number": number or await store.next_number("20261124"),
        "version": 1,
        "state": "submitted",
        "applicant": "doctor.community",
        "applicant_name": "陈建国",
        "applicant_hospital": "community",
        "consultant_hospital": "secondary",
        "studies": [{"study_uid": "1.2.3", "holder": "community"}],
        "purpose": "请会诊",
        "clinical_info": "",
        "urgency": "urgent",
        "timeline": [
            {"at": NOW, "user": "doctor.community", "name": "陈建国", "action": "submit", "state": "submitted"}
        ],
    }
    return Consult.model_validate(fields | more)


def application() -> Application:
    study = {"study_uid": "1.2.3", "holder": "community"}
    return Application.model_validate(
        {"consultant_hospital": "secondary", "studies": [study], "purpose": "请会诊", "clinical_info": "咳嗽"}
    )


@KINDS
async def test_case_is_given_back_as_it_was_kept(store: ConsultStore, sent: Sent) -> None:
    report = {"id": "r1", "author": "expert.secondary", "author_name": "周敏", "impression": "复查", "issued_at": NOW}
    case = await make(store, report=report)
    assert await store.insert(case, released(case), None) == case
    assert await store.get(case.id) == case
    assert await store.get("0" * 32) is None
    assert await sent() == [("study-used", "StudyReleased", "1.2.3")]


@KINDS
async def test_change_needs_the_version_it_was_made_on(store: ConsultStore, sent: Sent) -> None:
    case = await make(store)
    await store.insert(case, [], None)
    second = case.model_copy(update={"version": 2, "state": State.ACCEPTED})
    assert await store.replace(second, 1, released(case))
    assert not await store.replace(case.model_copy(update={"version": 2, "state": State.REJECTED}), 1, released(case))
    assert await store.get(case.id) == second
    assert len(await sent()) == 1
    absent = await make(store)
    assert not await store.replace(absent, 1, released(absent))
    assert await store.get(absent.id) is None


@KINDS
async def test_request_makes_one_case_when_it_comes_again(store: ConsultStore, sent: Sent) -> None:
    first, again = await make(store), await make(store)
    assert await store.find_request("doctor/k1") is None
    assert await store.insert(first, released(first), "doctor/k1") == first
    assert await store.insert(again, released(again), "doctor/k1") == first
    assert await store.find_request("doctor/k1") == first
    assert await store.get(again.id) is None
    assert len(await sent()) == 1


@KINDS
async def test_cases_are_found_by_side_and_state_newest_first(store: ConsultStore) -> None:
    cases = [await make(store) for _ in range(5)]
    cases.append(await make(store, state="accepted"))
    cases.append(await make(store, consultant_hospital="tertiary"))
    for case in cases:
        await store.insert(case, [], None)

    async def found(**criteria: Any) -> list[str]:
        both = {"applicant_hospital": None, "consultant_hospital": None, "state": None, "limit": 10, "offset": 0}
        return [case.number for case in await store.find(**(both | criteria))]

    numbers = [case.number for case in cases]
    assert await found(applicant_hospital="community") == numbers[::-1]
    assert await found(consultant_hospital="tertiary") == [numbers[6]]
    assert await found(consultant_hospital="secondary", state=State.SUBMITTED) == numbers[4::-1]
    assert await found(applicant_hospital="community", limit=2, offset=3) == [numbers[3], numbers[2]]
    assert await found(applicant_hospital="secondary") == []


@KINDS
async def test_numbers_count_per_day_and_none_is_given_twice(store: ConsultStore) -> None:
    numbers = await asyncio.gather(*(store.next_number("20261124") for _ in range(20)))
    assert sorted(numbers) == [f"C-20261124-{n:04d}" for n in range(1, 21)]
    assert await store.next_number("20261125") == "C-20261125-0001"


@KINDS
async def test_hospital_is_known_once_it_is_registered(kind: str, database: Any) -> None:
    book: HospitalBook = FakeHospitalBook() if kind == "fake" else MongoHospitalBook(database)
    assert not await book.knows("secondary")
    assert [await book.keep("secondary", revision) for revision in (2, 2, 1, 3)] == [True, False, False, True]
    assert await book.knows("secondary")


@KINDS
async def test_one_expert_wins_and_the_others_are_told_when_all_accept_at_once(
    store: ConsultStore, consults: Consults, sent: Sent
) -> None:
    case = await consults.submit(DOCTOR, application(), None)
    outcomes = await asyncio.gather(
        *(consults.act(rival, case.id, Action.ACCEPT, case.version) for rival in RIVALS), return_exceptions=True
    )
    (won,) = [outcome for outcome in outcomes if isinstance(outcome, Consult)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    assert len(lost) == len(RIVALS) - 1
    assert {(conflict.by, conflict.version, conflict.state) for conflict in lost} == {(won.expert_name, 2, "accepted")}
    assert await store.get(case.id) == won
    assert [kind for topic, kind, _ in await sent() if topic == "consult-changed"] == [
        "ConsultSubmitted",
        "ConsultAccepted",
    ]


@KINDS
async def test_one_case_is_made_when_one_request_comes_many_times_at_once(
    store: ConsultStore, consults: Consults, sent: Sent
) -> None:
    made = await asyncio.gather(*(consults.submit(DOCTOR, application(), "k1") for _ in range(8)))
    assert len({case.id for case in made}) == 1
    assert [kind for topic, kind, _ in await sent() if topic == "consult-changed"] == ["ConsultSubmitted"]
    found = await store.find(
        applicant_hospital="community", consultant_hospital=None, state=None, limit=10, offset=0
    )  # fmt: skip
    assert [case.id for case in found] == [made[0].id]


@KINDS
async def test_withdrawal_and_report_cannot_both_happen(consults: Consults, sent: Sent) -> None:
    case = await consults.submit(DOCTOR, application(), None)
    case = await consults.act(EXPERT, case.id, Action.ACCEPT, case.version)
    case = await consults.draft(EXPERT, case.id, case.version, ReportText(findings="结节", impression="复查"))
    outcomes = await asyncio.gather(
        consults.issue(EXPERT, case.id, case.version),
        consults.act(DOCTOR, case.id, Action.WITHDRAW, case.version),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "Consult"]
    kinds = {kind for _, kind, _ in await sent()}
    assert len(kinds & {"ReportIssued", "ConsultWithdrawn"}) == 1
    assert ("StudyReleased" in kinds) is ("ConsultWithdrawn" in kinds)


@pytest.mark.parametrize("kind", ["mongo"])
async def test_issued_version_is_kept_and_never_written_again(
    store: ConsultStore, consults: Consults, database: Any
) -> None:
    case = await consults.submit(DOCTOR, application(), None)
    case = await consults.act(EXPERT, case.id, Action.ACCEPT, case.version)
    case = await consults.draft(EXPERT, case.id, case.version, ReportText(findings="结节", impression="复查"))
    assert await database["report_versions"].count_documents({}) == 0
    case = await consults.issue(EXPERT, case.id, case.version)
    assert case.report is not None
    forged = case.model_copy(
        update={"version": case.version + 1, "report": case.report.model_copy(update={"impression": "改"})}
    )
    assert await store.replace(forged, case.version, [])
    (kept,) = await database["report_versions"].find().to_list()
    assert (kept["_id"], kept["impression"]) == (f"{case.report.id}/1", "复查")


@pytest.mark.parametrize("kind", ["mongo"])
async def test_neither_case_nor_event_is_kept_when_the_event_cannot_be_written(
    store: ConsultStore, database: Any, sent: Sent
) -> None:
    case = await make(store)
    unwritable: Any = ("study-used", None, "1.2.3")
    with pytest.raises(AttributeError):
        await store.insert(case, [*released(case), unwritable], "doctor/k1")
    assert (await store.get(case.id), await sent(), await store.find_request("doctor/k1")) == (None, [], None)


@KINDS
async def test_notice_is_raised_once_when_several_copies_raise_it_at_once(
    kind: str, client: Any, database: Any
) -> None:
    outbox = Outbox(database)
    book: NoticeBook = FakeNoticeBook() if kind == "fake" else MongoNoticeBook(client, database.name, outbox)

    def notice(notice_id: str) -> NoticeRaised:
        return NoticeRaised(
            notice_id=notice_id,
            recipient="user:doctor.community",
            kind="report-issued",
            number="C-20261124-0001",
            link="/portal/consults/c1",
            raised_at=NOW,
        )

    raised = await asyncio.gather(*(book.raise_once(notice("n1")) for _ in range(8)))
    assert sorted(raised) == [False] * 7 + [True]
    assert await book.raise_once(notice("n2"))
    assert not await book.raise_once(notice("n2"))
    if kind == "mongo":
        assert await in_outbox(database) == [("notice-raised", "NoticeRaised", "user:doctor.community")] * 2
        assert await database["notices"].count_documents({}) == 2
