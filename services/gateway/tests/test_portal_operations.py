"""The operators' pages: hospitals and their agents, dead letters, storage; each for those who run them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gateway.handlers import build_retrieval_reader
from gateway.operations.model import DayOfUse
from gateway.usecases.follow_edges import FollowEdges, both
from imaging_common.auth import Claims
from imaging_common.events import (
    EchoAnswered,
    EchoRequested,
    EdgeHeartbeat,
    Envelope,
    PacsState,
    StorageMeasured,
    StudyAvailable,
    TierUsage,
)
from imaging_common.messaging.dead_letters import DeadLetter, DeadTopic

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Now is when the test runs, not when the file was read: a heartbeat of a minute ago is late."""
    monkeypatch.setitem(globals(), "NOW", datetime.now(UTC))


OPERATOR = "operator.region"
LOCAL = Claims("operator.community", "community", frozenset({"hospital-operator"}), "陈工")
TOPIC = "instances-received-dlq-indexer"
OWN = "edge-events-community-dlq-indexer"
PERSONAL = "patient-linked-dlq-indexer"


def said(event: Any, topic: str = "edge-events-community") -> Envelope:
    return Envelope(id="1", type=event.type_name(), source="/x", time=NOW, topic=topic, key="")


def heartbeat(backlog: int = 3, **more: Any) -> EdgeHeartbeat:
    return EdgeHeartbeat(
        sequence=6, backlog_instances=backlog, backlog_bytes=1_578_000, spool_bytes=734_003_200,
        spool_limit_bytes=1 << 30, agent_version="0.1.0", sent_at=NOW, consumer_lag=2,
        oldest_unsent_at=NOW - timedelta(minutes=4), **more,
    )  # fmt: skip


async def hear(world: Any, event: Any, topic: str = "edge-events-community") -> None:
    """As the composition root has it: retrievals first, then what the operators' pages keep."""
    operated = world.operated
    follow = FollowEdges(operated.log, operated.echoes, operated.usage, world.live)
    await both(build_retrieval_reader(world.portal.retriever, world.live), follow)(event, said(event, topic))


@pytest.fixture
async def operator(world: Any) -> httpx.AsyncClient:
    client: httpx.AsyncClient = await world.signed_in(OPERATOR)
    return client


@pytest.fixture
async def local(world: Any) -> httpx.AsyncClient:
    world.provider.people[LOCAL.user] = LOCAL
    client: httpx.AsyncClient = await world.signed_in(LOCAL.user)
    return client


async def test_hospitals_show_what_their_agents_say(world: Any, operator: httpx.AsyncClient) -> None:
    await hear(world, heartbeat())
    study = StudyAvailable(study_uid="1.2.3", announcement=1, basis="quiet", instances=[], announced_at=NOW)
    await hear(world, study)
    page = (await operator.get("/portal/hospitals")).text
    assert 'data-hospital="community" data-state="online"' in page
    assert 'data-hospital="secondary" data-state="never"' in page
    assert "oldest 4 min ago" in page
    assert "700 MiB of 1.00 GiB" in page
    assert 'class="spark"' in page
    assert world.operated.log.announced_at.keys() == {"community"}


async def test_hospital_operator_sees_the_own_hospital_only(world: Any, local: httpx.AsyncClient) -> None:
    page = (await local.get("/portal/hospitals")).text
    assert 'data-hospital="community"' in page
    assert 'data-hospital="secondary"' not in page
    assert (await local.get("/portal/hospitals/secondary")).status_code == 404
    for closed in ("/portal/storage", "/portal/onboarding"):
        assert (await local.get(closed)).status_code == 403
    data = {"csrf": world.csrf(LOCAL.user)}
    assert (await local.post("/portal/hospitals/community/policy", data=data)).status_code == 403
    assert (await local.post("/portal/hospitals/secondary/echo", data=data)).status_code == 404


@pytest.mark.parametrize("path", ["hospitals", "onboarding", "dead-letters", "storage"])
async def test_operators_pages_are_closed_to_doctors(world: Any, path: str) -> None:
    doctor = await world.signed_in("doctor.community")
    assert (await doctor.get(f"/portal/{path}")).status_code == 403


async def test_echo_is_asked_once_and_its_answer_is_shown(world: Any, local: httpx.AsyncClient) -> None:
    pacs = PacsState(reachable=True, since=NOW)
    await hear(world, heartbeat(pacs=pacs))
    data = {"csrf": world.csrf(LOCAL.user)}
    for _ in range(2):
        assert (await local.post("/portal/hospitals/community/echo", data=data)).status_code == 303
    (question,) = world.publisher.events("edge-commands-community")
    assert isinstance(question, EchoRequested)
    assert 'data-result="waiting"' in (await local.get("/portal/hospitals/community/agent")).text
    answer = EchoAnswered(echo_id=question.echo_id, reason="", milliseconds=38, at=NOW)
    await hear(world, answer, "edge-events-secondary")
    assert 'data-result="waiting"' in (await local.get("/portal/hospitals/community/agent")).text, "not theirs to say"
    await hear(world, answer)
    page = (await local.get("/portal/hospitals/community")).text
    assert 'data-result="ok"' in page
    assert "Answered in 38 ms" in page


async def test_policy_change_is_a_new_revision_and_is_recorded(world: Any, operator: httpx.AsyncClient) -> None:
    form = {"csrf": world.csrf(OPERATOR), "revision": "1", "tier": "central", "compression": "keep",
            "cache_weight": "2", "retention_days": "60", "legal_hold": "yes"}  # fmt: skip
    assert "policy is saved" in (await operator.post("/portal/hospitals/community/policy", data=form)).text
    entry = world.registry.entries["community"]
    assert (entry.revision, entry.compression, entry.legal_hold, entry.name_zh) == (2, "keep", True, "塘桥")
    (record,) = [one for one in world.audited if one.action == "permission"]
    assert (record.holder, record.outcome, record.user) == ("community", "success", OPERATOR)
    assert "legal_hold=True" in record.reason
    again = await operator.post("/portal/hospitals/community/policy", data=form)
    assert (again.status_code, world.registry.entries["community"].revision) == (409, 2)
    wrong = await operator.post(
        "/portal/hospitals/community/policy", data={**form, "revision": "2", "cache_weight": "0"}
    )
    assert (wrong.status_code, world.registry.entries["community"].revision) == (422, 2)


def letter(topic: str, offset: int) -> DeadLetter:
    headers = {"dlq_reason": "wrong-schema", "dlq_error": "BadMessage", "dlq_text": "does not fit", "dlq_attempts": "3",
               "dlq_partition": "0", "dlq_offset": "7", "ce_type": "InstancesReceived"}  # fmt: skip
    return DeadLetter(topic, 0, offset, NOW, headers, "ab12", b'{"study_uid": "1.2.3"}')


def fill(world: Any) -> None:
    for topic in (TOPIC, OWN, PERSONAL):
        world.operated.letters.held.append(DeadTopic(topic, 3, {0: 0}, {0: 3}, {}, NOW, NOW))
        world.operated.letters.letters += [letter(topic, offset) for offset in range(3)]


async def test_dead_letters_tell_why_and_personal_data_stays_hidden(world: Any, operator: httpx.AsyncClient) -> None:
    fill(world)
    assert (await operator.get("/portal/dead-letters")).text.count('data-testid="dead-topic"') == 3
    page = (await operator.get(f"/portal/dead-letters/{TOPIC}")).text
    for text in ("Does not fit its schema", "BadMessage", "ab12", "InstancesReceived"):
        assert text in page
    assert "1.2.3" in (await operator.get(f"/portal/dead-letters/{TOPIC}/0/1")).text
    assert "can carry personal data" in (await operator.get(f"/portal/dead-letters/{PERSONAL}")).text
    assert (await operator.get(f"/portal/dead-letters/{PERSONAL}/0/1")).status_code == 404


async def test_hospital_operator_sees_dead_letters_of_the_own_topics(world: Any, local: httpx.AsyncClient) -> None:
    fill(world)
    page = (await local.get("/portal/dead-letters")).text
    assert OWN in page
    assert TOPIC not in page
    assert (await local.get(f"/portal/dead-letters/{TOPIC}")).status_code == 404
    assert (await local.get(f"/portal/dead-letters/{OWN}/0/1")).status_code == 403
    data = {"csrf": world.csrf(LOCAL.user), "all": "yes"}
    assert (await local.post(f"/portal/dead-letters/{OWN}/replay", data=data)).status_code == 403
    assert world.operated.letters.sent == []


async def test_chosen_letters_go_back_once_and_all_goes_without_them(world: Any, operator: httpx.AsyncClient) -> None:
    fill(world)
    csrf, letters = world.csrf(OPERATOR), world.portal.operations.letters
    assert letters is not None
    await operator.post(f"/portal/dead-letters/{TOPIC}/replay", data={"csrf": csrf, "place": "0/1"})
    await letters.finish()
    assert world.operated.letters.sent == [(TOPIC, 0, 1)]
    page = (await operator.get(f"/portal/dead-letters/{TOPIC}")).text
    assert 'data-offset="1" data-replayed="yes"' in page
    assert "2 waiting" in page
    await operator.post(f"/portal/dead-letters/{TOPIC}/replay", data={"csrf": csrf, "all": "yes"})
    await letters.finish()
    assert world.operated.letters.sent == [(TOPIC, 0, 1), (TOPIC, 0, 0), (TOPIC, 0, 2)]
    assert 'data-state="done"' in (await operator.get(f"/portal/dead-letters/{TOPIC}/progress")).text
    assert [(one.reason, one.count) for one in world.audited if one.action == "replay"] == [(TOPIC, 1), (TOPIC, 2)]


async def test_replay_that_fails_says_so(world: Any, operator: httpx.AsyncClient) -> None:
    fill(world)
    world.operated.letters.fail_with = ValueError("no")
    letters = world.portal.operations.letters
    assert letters is not None
    data = {"csrf": world.csrf(OPERATOR), "all": "yes"}
    await operator.post(f"/portal/dead-letters/{TOPIC}/replay", data=data)
    await letters.finish()
    assert 'data-state="failed"' in (await operator.get(f"/portal/dead-letters/{TOPIC}")).text
    assert [one.outcome for one in world.audited if one.action == "replay"] == ["success", "failed"]


async def test_storage_shows_tiers_quota_and_growth(world: Any, operator: httpx.AsyncClient) -> None:
    assert "has not measured yet" in (await operator.get("/portal/storage")).text
    await hear(world, heartbeat())
    usage = [TierUsage(hospital="community", tier="archive", bytes=5 << 30, objects=1),
             TierUsage(hospital="secondary", tier="cache", bytes=1 << 30, objects=2)]  # fmt: skip
    await hear(world, StorageMeasured(measured_at=NOW, usage=usage, cache_quota_bytes=4 << 30), "storage-measured")
    yesterday = f"{NOW - timedelta(days=1):%Y-%m-%d}"
    world.operated.usage.kept.append(DayOfUse(yesterday, {"archive": {"community": 4 << 30}}))
    page = (await operator.get("/portal/storage")).text
    assert "25 % of 4.00 GiB" in page
    assert "+1.00 GiB" in page
    assert 'class="layer archive"' in page


async def test_pages_name_the_missing_settings(world: Any) -> None:
    world.operated.without_credentials = True
    app = world.build()
    operator = await world.signed_in(OPERATOR)
    bare = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://portal.test", headers=operator.headers,
        cookies=operator.cookies,
    )  # fmt: skip
    assert "GATEWAY_OPERATIONS_KAFKA_USERNAME" in (await bare.get("/portal/dead-letters")).text
    assert "GATEWAY_ONBOARDING_CA_KEY" in (await bare.get("/portal/onboarding")).text
    data = {"csrf": world.csrf(OPERATOR)}
    assert (await bare.post("/portal/onboarding", data=data)).status_code in (404, 422)
