"""Rules of the cache tier's quota without I/O: what a hospital's share is, and which studies go."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CachedStudy:
    """A study with copies in the cache tier."""

    hospital: str
    study_uid: str
    size: int
    """Bytes."""
    used_at: datetime
    """Last opened; never opened: last arrival."""

    @property
    def id(self) -> str:
        """`<hospital>/<study>`."""
        return f"{self.hospital}/{self.study_uid}"


def shares(quota: float, weights: Mapping[str, float]) -> dict[str, float]:
    """Each hospital's bytes of the quota, by weight."""
    whole = sum(weights.values())
    return {hospital: quota * weight / whole for hospital, weight in weights.items()}


def choose(
    target: float,
    totals: Mapping[str, int],
    share: Mapping[str, float],
    first: Iterable[CachedStudy],
    candidates: Mapping[str, Sequence[CachedStudy]],
) -> list[CachedStudy]:
    """What goes, in order, until `target` bytes are left or nothing may go any more.

    First what is redundant; then the least recently used study of all hospitals above their share; where those have
    nothing that may go, the least recently used of all.

    Parameters
    ----------
    totals
        Bytes of each hospital.
    first
        Studies that go before all others.
    candidates
        Each hospital's studies that may go, least recently used first.
    """
    left = dict(totals)
    chosen: dict[str, CachedStudy] = {}

    def take(study: CachedStudy) -> None:
        chosen[study.id] = study
        left[study.hospital] = left.get(study.hospital, 0) - study.size

    for study in first:
        if sum(left.values()) > target:
            take(study)
    queues = {h: [s for s in reversed(studies) if s.id not in chosen] for h, studies in candidates.items()}
    while sum(left.values()) > target:
        ready = [hospital for hospital, queue in queues.items() if queue]
        over = [hospital for hospital in ready if left.get(hospital, 0) > share.get(hospital, 0.0)]
        if not ready:
            break
        take(queues[min(over or ready, key=lambda hospital: queues[hospital][-1].used_at)].pop())
    return list(chosen.values())
