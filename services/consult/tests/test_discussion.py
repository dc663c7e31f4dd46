"""Files and words of a case."""

from collections.abc import AsyncIterator

import pytest

from consult.errors import InvalidConsult, NotAllowed, NotFound
from consult.model import Action, CommentText, State
from consult.usecases.attachments import MAX_BYTES
from imaging_common.events import ConsultCommented

from .conftest import Parts
from .people import COLLEAGUE, DOCTOR, EXPERT, KEY_IMAGE, PROFESSOR, RIVAL, STRANGER

PDF = b"%PDF-1.7 " + b"x" * 100


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_file_is_what_its_bytes_say_and_every_party_reads_it(parts: Parts) -> None:
    case = await parts.desk.to(State.DRAFT)
    added = await parts.attachments.add(DOCTOR, case.id, "consent", "同意书.exe", stream(PDF[:3], PDF[3:]))
    assert (added.media_type, added.size) == ("application/pdf", len(PDF))
    case = await parts.desk.do(DOCTOR, case, Action.SUBMIT)
    found, chunks = await parts.attachments.read(EXPERT, case.id, added.id)
    assert (found, b"".join([chunk async for chunk in chunks])) == (added, PDF)
    with pytest.raises(NotFound):
        await parts.attachments.read(STRANGER, case.id, added.id)
    with pytest.raises(NotAllowed):
        await parts.attachments.delete(DOCTOR, case.id, added.id)


async def test_what_is_too_large_or_of_another_type_leaves_nothing(parts: Parts) -> None:
    case = await parts.desk.to(State.DRAFT)
    for chunks in ((b"MZ\x90\x00 program",), (b"%P",), (PDF, bytes(MAX_BYTES))):
        with pytest.raises(InvalidConsult):
            await parts.attachments.add(DOCTOR, case.id, "document", "a.pdf", stream(*chunks))
    assert parts.files.kept == {}
    assert parts.store.consults[case.id].attachments == []


async def test_applicant_takes_back_an_own_file_of_a_draft(parts: Parts) -> None:
    case = await parts.desk.to(State.DRAFT)
    added = await parts.attachments.add(DOCTOR, case.id, "document", "a.pdf", stream(PDF))
    await parts.attachments.delete(DOCTOR, case.id, added.id)
    assert parts.files.kept == {}


async def test_parties_talk_about_an_image_and_no_version_changes(parts: Parts) -> None:
    case = await parts.desk.to(State.READING)
    said = CommentText(text="请看此处", mentions=[EXPERT.user, COLLEAGUE.user, RIVAL.user], key_image=KEY_IMAGE)
    await parts.discussion.write(DOCTOR, case.id, said)
    (told,) = [event for _, event, _ in parts.store.sent if isinstance(event, ConsultCommented)]
    assert (told.mentions, told.version.n) == (said.mentions, case.version)
    assert "请看" not in told.model_dump_json()
    assert [one.text for one in await parts.discussion.read(EXPERT, case.id)] == ["请看此处"]
    for wrong in (
        CommentText(text="?", mentions=[PROFESSOR.user]),
        CommentText(text="?", key_image=KEY_IMAGE.model_copy(update={"study_uid": "9.9"})),
    ):
        with pytest.raises(InvalidConsult):
            await parts.discussion.write(DOCTOR, case.id, wrong)
    with pytest.raises(NotFound):
        await parts.discussion.write(STRANGER, case.id, CommentText(text="?"))
