"""Who looked: a resident's access log in a few lines, one per person, grouped by hospital. Pure.

A look is a view or a retrieve that was let in. What programs do on their way (the ingest, which fills the cache) and
the auditors' own reading of the record is no look at the resident.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from audit.model import Link

LOOKS = ("view", "retrieve")
COUNTED = (*LOOKS, "search")
NOT_COUNTED = ("audit", "dicom-ingest")
"""Services whose records are none of somebody's looks."""
MAX_PEOPLE = 500


@dataclass(frozen=True, slots=True)
class Looker:
    """One person (or program) of one hospital."""

    hospital: str
    user: str
    looks: int
    searches: int
    denied: int
    first: datetime
    last: datetime
    rights: tuple[str, ...]
    """By which rights the looks were let in, sorted."""


def summarize(links: Iterable[Link]) -> list[Looker]:
    """One row per person, by hospital, who looked last first."""
    found: dict[tuple[str, str], list[Link]] = {}
    for link in links:
        record = link["record"]
        if record["action"] in COUNTED and record["service"] not in NOT_COUNTED:
            found.setdefault((record["hospital"], record["user"]), []).append(link)
    return in_order(_looker(hospital, user, each) for (hospital, user), each in found.items())


def in_order(lookers: Iterable[Looker]) -> list[Looker]:
    """By hospital, who looked last first."""
    newest = sorted(lookers, key=lambda one: (one.last, one.user), reverse=True)
    return sorted(newest, key=lambda one: one.hospital)


def _looker(hospital: str, user: str, links: list[Link]) -> Looker:
    let_in = [link["record"] for link in links if link["record"]["outcome"] == "success"]
    looks = [record for record in let_in if record["action"] in LOOKS]
    return Looker(
        hospital=hospital,
        user=user,
        looks=len(looks),
        searches=len(let_in) - len(looks),
        denied=sum(link["record"]["outcome"] == "denied" for link in links),
        first=min(link["at"] for link in links),
        last=max(link["at"] for link in links),
        rights=tuple(sorted({record["reason"] for record in looks})),
    )
