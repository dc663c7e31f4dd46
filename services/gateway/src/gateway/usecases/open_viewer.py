"""Somebody opens the viewer: whoever keeps images at hand learns which studies are in use."""

from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.model import may_view
from imaging_common.access import Subject
from imaging_common.events import StudyOpened
from imaging_common.ids import is_uid
from imaging_common.index.model import StudyDocument
from imaging_common.index.read import StudyIndex
from imaging_common.messaging import EventPublisher

MAX_STUDIES = 20


async def open_viewer(
    index: StudyIndex, publisher: EventPublisher, subject: Subject, study_uids: Sequence[str]
) -> list[StudyDocument]:
    """Publish StudyOpened for each holder's study the subject may see; these studies.

    What they may not see is passed over in silence: the viewer will find nothing.
    """
    opened = await opened_studies(index, subject, study_uids)
    for document in opened:
        event = StudyOpened(study_uid=document.study_uid, holder=document.holder, opened_at=datetime.now(UTC))
        await publisher.publish("study-used", event, document.study_uid)
    return opened


async def opened_studies(index: StudyIndex, subject: Subject, study_uids: Sequence[str]) -> list[StudyDocument]:
    """Those of the studies, at each holder, that the subject may see."""
    return [
        document
        for study_uid in [uid for uid in dict.fromkeys(study_uids) if is_uid(uid)][:MAX_STUDIES]
        for document in await index.holders_of(study_uid)
        if may_view(subject, document)
    ]
