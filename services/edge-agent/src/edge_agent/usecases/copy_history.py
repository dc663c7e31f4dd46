"""Copies the PACS's studies for good when the hospital moves to the central tier: a few at a time, behind all else."""

import asyncio
import time

from edge_agent.pacs_model import fingerprint
from edge_agent.ports import MigrationLog, PacsContents
from edge_agent.retrievals import CopiedStudy, Work
from edge_agent.usecases.retrieve_studies import Retrievals
from imaging_common.events import HospitalRegistered
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
AT_ONCE = 2
POLL_SECONDS = 30.0
COMPARED_PER_POLL = 200
"""Studies that were copied and are compared with what the PACS has now."""


class Migration:
    """One per agent with a PACS."""

    def __init__(self, hospital: str, log: MigrationLog, contents: PacsContents, retrievals: Retrievals) -> None:
        self._hospital = hospital
        self._log = log
        self._contents = contents
        self._retrievals = retrievals
        self._news = asyncio.Event()
        self._running: set[str] = set()
        self._compared = 0
        self._progress: dict[str, int | str] = {}
        retrievals.on_original = self._ended

    async def take_policy(self, policy: HospitalRegistered) -> None:
        """Remember the hospital's tier; begin or stop."""
        if policy.hospital != self._hospital:
            return
        if await asyncio.to_thread(self._log.take_policy, policy.hospital, policy.revision, policy.tier):
            _log.info("policy-taken", tier=policy.tier, revision=policy.revision)
            self._news.set()

    def notify(self) -> None:
        """What is known of the PACS changed."""
        self._news.set()

    @property
    def progress(self) -> dict[str, int | str]:
        """For operators: tier, studies known, copied, running, and instances that the PACS did not give."""
        return self._progress

    async def run(self) -> None:
        """Copy until cancelled; does nothing in the distributed tier."""
        while True:
            self._news.clear()
            await self.copy_some()
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def copy_some(self) -> None:
        """Start what can be started now, newest studies first; stop all when the tier is not central."""
        tier = await asyncio.to_thread(self._log.tier, self._hospital)
        if tier != "central":
            if await asyncio.to_thread(self._log.close_originals):
                self._retrievals.drop_originals()
            self._running.clear()
            self._progress = {"tier": tier}
            return
        studies, copied = await asyncio.to_thread(lambda: (self._contents.studies(), self._log.copied()))
        now = time.time()
        waiting = [one for one in studies if one not in copied or copied[one].is_due(now)]
        waiting += await asyncio.to_thread(self._changed, [one for one in studies if one in copied], copied)
        for study_uid in waiting:
            if len(self._running) >= AT_ONCE:
                break
            if study_uid not in self._running:
                self._running.add(study_uid)
                await self._retrievals.add_original(await asyncio.to_thread(self._log.open_original, study_uid))
        self._progress = {
            "tier": tier,
            "studies": len(studies),
            "copied": sum(study in copied for study in studies),
            "running": len(self._running),
            "missing_instances": sum(one.missing for one in copied.values()),
        }

    def _changed(self, studies: list[str], copied: dict[str, CopiedStudy]) -> list[str]:
        """Some of the copied studies, in turn, whose instances in the PACS are others now. Blocking."""
        self._compared = self._compared if self._compared < len(studies) else 0
        turn = studies[self._compared : self._compared + COMPARED_PER_POLL]
        self._compared += COMPARED_PER_POLL
        return [one for one in turn if self._fingerprint(one) not in (copied[one].fingerprint, fingerprint([]))]

    def _fingerprint(self, study_uid: str) -> str:
        known = self._contents.instances(study_uid)
        return fingerprint((one.series_uid, one.sop_instance_uid) for one in known)

    def _ended(self, work: Work) -> None:
        task = asyncio.get_running_loop().create_task(self._note(work))
        task.add_done_callback(lambda _: self._news.set())

    async def _note(self, work: Work) -> None:
        study_uid = work.retrieval.study_uid
        before = (await asyncio.to_thread(self._log.copied)).get(study_uid)
        wanted = work.wanted or []
        missing = max(len(wanted) - work.done_of_wanted, len(work.missing))
        copied = CopiedStudy(
            fingerprint((one.series_uid, one.sop_instance_uid) for one in wanted),
            missing or int(work.failure is not None),
            (before.tries if before and missing else 0) + 1,
            time.time(),
        )
        await asyncio.to_thread(self._log.mark_copied, study_uid, copied)
        self._running.discard(study_uid)
