"""The stores of consult and notification: one contract, on the fake and on a real MongoDB; several copies at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from consult.adapters.fake_consults import FakeConsultStore, FakeHospitalBook, FakePolicies, FakeStudyAccess
from consult.adapters.files import GridFiles
from consult.adapters.mongo_consults import MongoConsultStore
from consult.adapters.mongo_hospitals import MongoHospitalBook
from consult.errors import Conflict, InvalidConsult
from consult.model import Action, Application, Attachment, Box, Consult, Order, ReportText, State, WorkingDraft, in_box
from consult.ports import BoxQuery, Change, ConsultStore, HospitalBook, Once
from consult.usecases import Attachments, Consults, Drafts
from imaging_common import mongo
from imaging_common.audit import AuditTrail
from imaging_common.auth import Claims
from imaging_common.events import NoticeRaised, StudyReleased
from imaging_common.messaging.outbox import Outbox
from imaging_common.messaging.outbox_publisher import OutboxPublisher
from imaging_common.people import FakeDirectory, Person
from imaging_common.settings import ServiceSettings
from notification.adapters.fake_notices import FakeNoticeBook
from notification.adapters.mongo_notices import MongoNoticeBook
from notification.ports import NoticeBook

DOCTOR = Claims("doctor.community", "community", frozenset({"doctor"}), "陈建国")
EXPERT = Claims("expert.secondary", "secondary", frozenset({"doctor", "expert"}), "周敏")
COORDINATOR = Claims("coordinator.secondary", "secondary", frozenset({"coordinator"}), "郑协调")
PROFESSOR = Claims("expert.tertiary", "tertiary", frozenset({"expert"}), "林教授")
RIVALS = [Claims(f"rival{n}.secondary", "secondary", frozenset({"expert"}), f"专家{n}") for n in range(8)]
EVERYBODY = [DOCTOR, EXPERT, COORDINATOR, PROFESSOR, RIVALS[0]]
PEOPLE = FakeDirectory(*(Person(one.user, one.name, one.hospital, one.roles) for one in (*EVERYBODY, *RIVALS)))
LEVELS = {"community": "community", "secondary": "secondary", "tertiary": "tertiary"}
TEXT = ReportText(findings="结节", impression="复查")
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
    book: HospitalBook = FakeHospitalBook() if kind == "fake" else MongoHospitalBook(database)
    for hospital, level in LEVELS.items():
        await book.keep(hospital, 1, level)
    audit = AuditTrail("consult", OutboxPublisher(Outbox(database, "looks")))
    return Consults(store, book, audit, PEOPLE, FakePolicies(), FakeStudyAccess())


def released(consult: Consult) -> list[tuple[str, StudyReleased, str]]:
    return [("study-used", StudyReleased(study_uid="1.2.3", holder="community", case_id=consult.id), "1.2.3")]


def application(**changes: Any) -> Application:
    fields = {
        "consultant_hospital": "secondary",
        "studies": [{"study_uid": "1.2.3", "holder": "community"}],
        "purpose": "请会诊",
        "chief_complaint": "咳嗽",
        "history": "两周",
        "diagnoses": [{"text": "肺结节"}],
        "consent": "verbal",
    }
    return Application.model_validate(fields | changes)


async def make(store: ConsultStore, **more: Any) -> Consult:
    step = {"at": NOW, "user": DOCTOR.user, "name": DOCTOR.name, "action": "submit", "state": "submitted"}
    fields: dict[str, Any] = {
        **application().model_dump(),
        "id": uuid4().hex,
        "number": await store.next_number("20261124"),
        "version": 1,
        "state": "submitted",
        "applicant": DOCTOR.user,
        "applicant_name": DOCTOR.name,
        "applicant_hospital": DOCTOR.hospital,
        "created_at": NOW,
        "submitted_at": NOW,
        "timeline": [step],
    }
    return Consult.model_validate(fields | more)


async def submit(consults: Consults, key: str | None = None) -> Consult:
    return await consults.apply(DOCTOR, application(), key, token="-")


async def act(consults: Consults, claims: Claims, case: Consult, action: Action, **told: Any) -> Consult:
    return await consults.act(claims, case.id, action, Order(version=case.version, **told))


async def drafted(store: ConsultStore, consults: Consults, case: Consult, expert: Claims = EXPERT) -> Consult:
    for action in (Action.CLAIM, Action.READ):
        case = await act(consults, expert, case, action)
    await Drafts(store, consults).save(expert, case.id, 0, TEXT)
    return await consults.get(expert, case.id)


@KINDS
async def test_case_is_given_back_as_it_was_kept(store: ConsultStore, sent: Sent) -> None:
    report = {"id": "r1", "author": "expert.secondary", "author_name": "周敏", "impression": "复查", "issued_at": NOW}
    case = await make(store, report=report)
    assert await store.commit([Change(None, case, released(case))])
    assert await store.get(case.id) == case
    assert await store.get("0" * 32) is None
    assert await sent() == [("study-used", "StudyReleased", "1.2.3")]


@KINDS
async def test_change_needs_the_case_it_was_made_on(store: ConsultStore, sent: Sent) -> None:
    case, other = await make(store), await make(store)
    assert await store.commit([Change(None, case), Change(None, other)])
    second = case.model_copy(update={"version": 2, "state": State.ACCEPTED})
    assert await store.commit([Change(case, second, released(case))])
    late = case.model_copy(update={"version": 2, "state": State.REJECTED})
    file = Attachment(id="a", kind="lab", name="a", media_type="image/png", size=1, sha256="0", by="x", at=NOW)
    with_file = other.model_copy(update={"attachments": [file]})
    assert not await store.commit([Change(other, with_file), Change(case, late, released(case))])
    assert (await store.get(case.id), await store.get(other.id)) == (second, other)
    assert len(await sent()) == 1
    absent = await make(store)
    assert not await store.commit([Change(absent, absent, released(absent))])
    assert await store.get(absent.id) is None


@KINDS
async def test_request_makes_one_case_when_it_comes_again(store: ConsultStore, sent: Sent) -> None:
    first, again = await make(store), await make(store)
    assert await store.find_request("doctor/k1") is None
    once = Once("doctor/k1", "digest")
    assert await store.commit([Change(None, first, released(first))], once=once)
    assert not await store.commit([Change(None, again, released(again))], once=once)
    made = await store.find_request("doctor/k1")
    assert made is not None
    assert (made.consult, made.digest) == (first, "digest")
    assert await store.get(again.id) is None
    assert len(await sent()) == 1


@KINDS
async def test_boxes_are_what_the_model_says(store: ConsultStore) -> None:
    """The criteria of MongoDB and the rule of the model, on every kind of case and everybody's boxes."""
    member = {"user": PROFESSOR.user, "name": "", "hospital": "tertiary", "asked_by": EXPERT.user}
    has_expert = {"expert": EXPERT.user, "expert_hospital": "secondary"}
    kinds: list[dict[str, Any]] = [
        {},
        {"state": "draft", "submitted_at": None},
        {"state": "withdrawn", "submitted_at": None},
        {"state": "in-review", **has_expert},
        {"state": "in-review", **has_expert, "by_name": True},
        {"state": "in-review", **has_expert, "by_name": True, "reviewer": RIVALS[0].user},
        {"state": "reading", **has_expert, "panel": [member]},
        {"state": "acknowledged", **has_expert, "panel": [member]},
        {"state": "reading", **has_expert, "panel": [{**member, "excused": True}]},
        {"by_name": True, "nominee": EXPERT.user, "urgency": "urgent"},
        {"consultant_hospital": "tertiary", "overdue": True},
        {
            "applicant": COORDINATOR.user,
            "applicant_hospital": "secondary",
            "consultant_hospital": "tertiary",
            "parent_id": "1",
        },
    ]
    cases = [await make(store, **kind) for kind in kinds]
    for case in cases:
        await store.commit([Change(None, case)])
    for claims in EVERYBODY:
        for box in Box:
            found = [case.number for case in await store.find(BoxQuery(claims, box))]
            assert found == [case.number for case in reversed(cases) if in_box(case, claims, box)], (claims.user, box)
    assert [case.number for case in await store.find(BoxQuery(COORDINATOR, Box.RECEIVED, overdue=True))] == []
    found = await store.find(BoxQuery(PROFESSOR, Box.RECEIVED, state=State.SUBMITTED, overdue=True))
    assert [case.number for case in found] == [cases[10].number]
    page = await store.find(BoxQuery(DOCTOR, Box.SENT, limit=2, offset=1))
    assert [case.number for case in page] == [cases[9].number, cases[8].number]


@KINDS
async def test_numbers_count_per_day_and_none_is_given_twice(store: ConsultStore) -> None:
    numbers = await asyncio.gather(*(store.next_number("20261124") for _ in range(20)))
    assert sorted(numbers) == [f"C-20261124-{n:04d}" for n in range(1, 21)]
    assert await store.next_number("20261125") == "C-20261125-0001"


@KINDS
async def test_hospital_is_known_once_it_is_registered(kind: str, database: Any) -> None:
    book: HospitalBook = FakeHospitalBook() if kind == "fake" else MongoHospitalBook(database)
    assert not await book.knows("secondary")
    kept = [await book.keep("secondary", revision, "secondary") for revision in (2, 2, 1, 3)]
    assert kept == [True, False, False, True]
    assert (await book.level("secondary"), await book.level("x")) == ("secondary", None)
    assert await book.at_level("secondary") == ["secondary"]


@KINDS
async def test_one_expert_wins_and_the_others_are_told_when_all_claim_at_once(
    store: ConsultStore, consults: Consults, sent: Sent
) -> None:
    case = await submit(consults)
    outcomes = await asyncio.gather(
        *(act(consults, rival, case, Action.CLAIM) for rival in RIVALS), return_exceptions=True
    )
    (won,) = [outcome for outcome in outcomes if isinstance(outcome, Consult)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, Conflict)]
    assert len(lost) == len(RIVALS) - 1
    assert {(conflict.by, conflict.version, conflict.state) for conflict in lost} == {(won.expert_name, 2, "assigned")}
    kept = await store.get(case.id)
    assert kept is not None
    assert (kept.expert, kept.version) == (won.expert, 2)
    assert [kind for topic, kind, _ in await sent() if topic == "consult-changed"] == [
        "ConsultSubmitted",
        "ConsultAssigned",
    ]


@KINDS
async def test_one_case_is_made_when_one_request_comes_many_times_at_once(
    store: ConsultStore, consults: Consults, sent: Sent
) -> None:
    made = await asyncio.gather(*(submit(consults, "k1") for _ in range(8)))
    assert len({case.id for case in made}) == 1
    assert [kind for topic, kind, _ in await sent() if topic == "consult-changed"] == ["ConsultSubmitted"]
    assert [case.id for case in await store.find(BoxQuery(DOCTOR, Box.SENT))] == [made[0].id]


@KINDS
async def test_withdrawal_and_report_cannot_both_happen(store: ConsultStore, consults: Consults, sent: Sent) -> None:
    case = await drafted(store, consults, await submit(consults))
    outcomes = await asyncio.gather(
        act(consults, EXPERT, case, Action.ISSUE),
        act(consults, DOCTOR, case, Action.WITHDRAW, reason="已转院"),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CaseView", "Conflict"]
    kinds = {kind for _, kind, _ in await sent()}
    assert len(kinds & {"ReportIssued", "ConsultWithdrawn"}) == 1
    assert ("StudyReleased" in kinds) is ("ConsultWithdrawn" in kinds)


@KINDS
async def test_draft_is_saved_on_its_revision_and_never_behind_a_transition(
    store: ConsultStore, consults: Consults
) -> None:
    case = await drafted(store, consults, await submit(consults))
    kept = await store.draft(case.id, EXPERT.user)
    stored = await store.get(case.id)
    assert kept is not None
    assert stored is not None

    def typed(words: str) -> WorkingDraft:
        text = TEXT.model_copy(update={"impression": words})
        return kept.model_copy(update={"revision": 2, "text": text, "saved_at": NOW})

    saved = await asyncio.gather(*(store.save_draft(stored, typed(f"{n}"), 1) for n in range(4)))
    assert sorted(saved) == [False, False, False, True]
    outcomes = await asyncio.gather(
        act(consults, EXPERT, case, Action.ISSUE), store.save_draft(stored, typed("晚"), 2), return_exceptions=True
    )
    issued, draft = await store.get(case.id), await store.draft(case.id, EXPERT.user)
    assert issued is not None
    assert issued.report is not None
    assert draft is not None
    assert issued.report.impression == draft.text.impression, outcomes


@KINDS
async def test_report_of_the_case_above_and_the_opinion_below_are_one_change(
    store: ConsultStore, consults: Consults, sent: Sent
) -> None:
    case = await drafted(store, consults, await submit(consults))
    target = {"target_kind": "hospital", "consultant_hospital": "tertiary"}
    case = await act(consults, EXPERT, case, Action.ESCALATE, reason="请上级会诊", target=target)
    child = await store.get(case.children[0])
    assert child is not None
    above = await drafted(store, consults, child, PROFESSOR)
    outcomes = await asyncio.gather(
        act(consults, PROFESSOR, above, Action.ISSUE),
        act(consults, EXPERT, case, Action.ASK_PANEL, member=RIVALS[0].user),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], Consult)
    parent = await store.get(case.id)
    assert parent is not None
    asked = isinstance(outcomes[1], Consult)
    assert parent.version == case.version + 1 + asked
    assert [opinion.from_consult for opinion in parent.opinions] == [child.id]
    told = [kind for topic, kind, key in await sent() if topic == "consult-changed" and key == case.id]
    assert told.count("ConsultOpinionGiven") == 1
    assert len(told) == parent.version


@pytest.mark.parametrize("kind", ["mongo"])
async def test_issued_version_is_kept_and_never_written_again(
    store: ConsultStore, consults: Consults, database: Any
) -> None:
    case = await drafted(store, consults, await submit(consults))
    assert await database["report_versions"].count_documents({}) == 0
    await act(consults, EXPERT, case, Action.ISSUE)
    issued = await store.get(case.id)
    assert issued is not None
    assert issued.report is not None
    forged = issued.model_copy(
        update={"version": issued.version + 1, "report": issued.report.model_copy(update={"impression": "改"})}
    )
    assert await store.commit([Change(issued, forged)])
    (kept,) = await database["report_versions"].find().to_list()
    assert (kept["_id"], kept["impression"]) == (f"{issued.report.id}/1", "复查")


@pytest.mark.parametrize("kind", ["mongo"])
async def test_neither_case_nor_event_is_kept_when_the_event_cannot_be_written(
    store: ConsultStore, database: Any, sent: Sent
) -> None:
    case = await make(store)
    unwritable: Any = ("study-used", None, "1.2.3")
    with pytest.raises(AttributeError):
        await store.commit([Change(None, case, [*released(case), unwritable])], once=Once("doctor/k1", "d"))
    assert (await store.get(case.id), await sent(), await store.find_request("doctor/k1")) == (None, [], None)


@pytest.mark.parametrize("kind", ["mongo"])
async def test_files_lie_in_the_database_whole_or_not_at_all(
    store: ConsultStore, consults: Consults, database: Any
) -> None:
    attachments = Attachments(
        store, GridFiles(database), consults, AuditTrail("consult", OutboxPublisher(Outbox(database, "looks")))
    )
    draft = await consults.apply(DOCTOR, application(), None, token="-", draft=True)
    big = b"%PDF-1.7" + bytes(600_000)

    async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    added = await asyncio.gather(
        *(attachments.add(DOCTOR, draft.id, "lab", f"{n}.pdf", stream(big[:9], big[9:])) for n in range(3))
    )
    with pytest.raises(InvalidConsult):
        await attachments.add(DOCTOR, draft.id, "lab", "x", stream(big, *[bytes(1_000_000)] * 21))
    kept = await store.get(draft.id)
    assert kept is not None
    assert {one.id for one in kept.attachments} == {one.id for one in added}
    assert kept.version == draft.version
    _, chunks = await attachments.read(DOCTOR, draft.id, added[0].id)
    assert b"".join([chunk async for chunk in chunks]) == big
    await attachments.delete(DOCTOR, draft.id, added[0].id)
    left = {document["files_id"] async for document in database["files.chunks"].find({}, {"files_id": 1})}
    assert left == {one.id for one in added[1:]}


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
