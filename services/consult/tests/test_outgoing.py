"""What a transition sends, and in whose order."""

from consult.model import State

from .conftest import Parts


async def test_two_cases_never_wait_for_each_others_transactions(parts: Parts) -> None:
    """Events of one (topic, key) are numbered in the transaction: a key in common makes transactions conflict."""
    first = await parts.desk.to(State.ISSUED)
    sent = len(parts.store.sent)
    second = await parts.desk.to(State.ISSUED, studies=[{"study_uid": "1.2.4", "holder": "community"}])
    streams = [{(topic, key) for topic, _, key in part} for part in (parts.store.sent[:sent], parts.store.sent[sent:])]
    assert first.id != second.id
    assert not streams[0] & streams[1]
