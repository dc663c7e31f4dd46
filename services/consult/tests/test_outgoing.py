"""What a transition sends, and in whose order."""

from consult.model import Action, State
from imaging_common.events import AuditRecorded, ConsultEvent, Version

from .conftest import Parts
from .people import COORDINATOR


async def test_two_cases_never_wait_for_each_others_transactions(parts: Parts) -> None:
    """Events of one (topic, key) are numbered in the transaction: a key in common makes transactions conflict."""
    first = await parts.desk.to(State.ISSUED)
    sent = len(parts.store.sent)
    second = await parts.desk.to(State.ISSUED, studies=[{"study_uid": "1.2.4", "holder": "community"}])
    streams = [{(topic, key) for topic, _, key in part} for part in (parts.store.sent[:sent], parts.store.sent[sent:])]
    assert first.id != second.id
    assert not streams[0] & streams[1]


def versions(parts: Parts) -> list[Version]:
    """Of the case, in the events that were sent."""
    return [event.version for _, event, _ in parts.store.sent if isinstance(event, ConsultEvent)]


def records(parts: Parts) -> set[str]:
    """The ids of the audit records that were sent."""
    return {event.audit_id for _, event, _ in parts.store.sent if isinstance(event, AuditRecorded)}


async def test_what_a_restored_case_says_is_newer_than_what_was_forgotten(parts: Parts) -> None:
    """A backup was put back: subscribers and the record know steps of the case that it does not know itself."""
    saved = await parts.desk.to(State.SUBMITTED)
    stored = parts.store.consults[saved.id]
    parts.store.sent.clear()
    await parts.desk.do(COORDINATOR, saved, Action.ACCEPT)
    forgotten, recorded = versions(parts), records(parts)
    parts.store.consults[saved.id] = stored.model_copy(update={"epoch": stored.epoch + 1})
    parts.store.sent.clear()
    await parts.desk.do(COORDINATOR, saved, Action.ACCEPT)
    assert [one.n for one in versions(parts)] == [one.n for one in forgotten]
    assert all(one.newer_than(other) for one in versions(parts) for other in forgotten)
    assert records(parts)
    assert not records(parts) & recorded, "a record of the same id would be taken for a repetition"
