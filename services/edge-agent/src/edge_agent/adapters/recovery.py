"""Brings the spool folder and its journal to agreement when the agent starts, before anything is received."""

import time

from edge_agent.adapters.journal import Journal
from edge_agent.adapters.spool import SpoolFolder, SpoolLock
from edge_agent.errors import SpoolUnusable
from edge_agent.model import State
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
AGENT_LOCK = "agent.lock"
RECEIVERS_LOCK = "receivers.lock"
LOCK_SECONDS = 15.0


def take_spool(folder: SpoolFolder) -> SpoolLock:
    """Make sure that no other agent, and no receiving process of one that was killed, uses the spool.

    Raises
    ------
    SpoolUnusable
        Another one does not go away.
    """
    agent, receivers = SpoolLock(folder.root, AGENT_LOCK), SpoolLock(folder.root, RECEIVERS_LOCK)
    deadline = time.monotonic() + LOCK_SECONDS
    for lock in (agent, receivers):
        while not lock.try_alone():
            if time.monotonic() > deadline:
                raise SpoolUnusable("another agent uses the spool")
            time.sleep(0.05)
    receivers.release()
    return agent


def recover_spool(folder: SpoolFolder, journal: Journal) -> None:
    """Sweep what no journal entry speaks of, finish moves to quarantine, raise an alarm for files that are missing."""
    known = journal.on_disk()
    arriving = folder.sweep_incoming()
    strangers = folder.sweep_instances(set(known))
    folder.quarantine([one for one, state in known.values() if state is State.REJECTED])
    kept = [one for one, state in known.values() if state is not State.REJECTED]
    missing = [one for one in folder.damaged(kept) if not folder.path(one.sha256).exists()]
    if missing:
        _log.error("spool-files-missing", count=len(missing))
    journal.checkpoint()
    _log.info("spool-recovered", instances=len(known), swept_incoming=arriving, swept_instances=strangers)
