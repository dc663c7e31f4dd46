"""Partial truth (decision 0005): what is said when a holder cannot give images now."""

from collections.abc import Iterable

from gateway.retrievals.model import Away
from imaging_common.http.problems import Problem

RETRY_SECONDS = "10"
WARNING = "Warning"


def refused(away: Away) -> Problem:
    """The answer when nothing of what was asked for can be given.

    410 when the hospital says that the study is gone (PS3.18 §8.5.3), else 503; quickly, and with the reason.
    """
    status = 410 if away.reason == "study-gone" else 503
    headers = {WARNING: away.warning, "Retry-After": RETRY_SECONDS, "Cache-Control": "no-store"}
    if status == 410:
        del headers["Retry-After"]
    since = away.since.isoformat() if away.since else None
    detail = f"{away.holder} cannot give these images now: {away.reason}"
    return Problem(status, detail, headers=headers, holder=away.holder, reason=away.reason, since=since)


def standing_in(away: Away, other: str) -> str:
    """The value of `Warning` when the pixels of another holder's equal copy are given."""
    return f'{away.warning}, 299 imaging-cloud "the pixels come from {other}, whose copy has the same pixels"'


def warnings(aways: Iterable[Away]) -> str:
    """The value of one `Warning` header about several holders."""
    return ", ".join(dict.fromkeys(away.warning for away in aways))
