"""Who looks at a study of the distributed tier keeps its cached copy: said once a minute per study and holder."""

import time
from collections import OrderedDict
from datetime import UTC, datetime

from gateway.dicomweb.access import OpenStudy
from imaging_common.events import StudyOpened
from imaging_common.messaging import EventPublisher

AGAIN_SECONDS = 60.0
MAX_REMEMBERED = 10_000


class StudyUse:
    """Publishes `StudyOpened` on access, at most once a minute per (study, holder) and copy of the gateway."""

    def __init__(self, publisher: EventPublisher | None) -> None:
        self._publisher = publisher
        self._told: OrderedDict[str, float] = OrderedDict()

    async def tell(self, opened: OpenStudy) -> None:
        """Say that these studies are in use, as far as they have cached copies."""
        if self._publisher is None:
            return
        for document in opened.holders:
            now = time.monotonic()
            if document.tier == "central" or now - self._told.get(document.id, float("-inf")) < AGAIN_SECONDS:
                continue
            self._told[document.id] = now
            self._told.move_to_end(document.id)
            if len(self._told) > MAX_REMEMBERED:
                self._told.popitem(last=False)
            event = StudyOpened(study_uid=document.study_uid, holder=document.holder, opened_at=datetime.now(UTC))
            await self._publisher.publish("study-used", event, document.study_uid)
