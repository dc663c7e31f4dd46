"""A hospital without PACS has nothing to be asked for: each request is answered at once."""

import asyncio
from datetime import UTC, datetime

from edge_agent.ports import RetrievalLog
from edge_agent.usecases.tell_progress import ProgressTeller
from imaging_common.events import HospitalRegistered, RetrieveFailed, RetrieveRequested


class NoRetrievals:
    """In the place of `Retrievals`."""

    def __init__(self, log: RetrievalLog, progress: ProgressTeller) -> None:
        self._log = log
        self._progress = progress

    async def request(self, request: RetrieveRequested) -> None:
        """Tell that it fails, once."""
        await asyncio.to_thread(self._refuse, request)
        self._progress.relay()

    async def cancel(self, retrieval_id: str, study_uid: str) -> None:
        """Remember it."""
        await asyncio.to_thread(self._log.cancel, retrieval_id, study_uid, self._progress.topic)
        self._progress.relay()

    async def take_policy(self, policy: HospitalRegistered) -> None:
        """Nothing is to be copied."""

    def _refuse(self, request: RetrieveRequested) -> None:
        if self._log.take_request(request) is None:
            return
        event = RetrieveFailed(
            retrieval_id=request.retrieval_id,
            study_uid=request.study_uid,
            reason="pacs-unreachable",
            instances_done=0,
            instances_missing=sum(len(series.instances) for series in request.series),
            at=datetime.now(UTC),
        )
        self._log.finish(request.retrieval_id, request.revision, "failed", self._progress.topic, event)
