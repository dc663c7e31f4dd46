"""What is to be asked of a hospital so that images come: only what is not in the centre, the asked-for series first."""

from collections.abc import Sequence

from imaging_common.events import SeriesWanted
from imaging_common.index.model import InstanceDocument, ListedInstance, SeriesDocument
from imaging_common.index.read import StudyIndex

MAX_NAMED = 5_000
"""Missing instances of a series that are named one by one; of more the whole series is asked for."""


async def wanted_series(
    index: StudyIndex, study_key: str, listed: Sequence[ListedInstance], *, whole: bool
) -> list[SeriesWanted]:
    """The series of these instances, and with `whole` the rest of the study; of a series that is partly here only
    what is missing."""
    names = list(dict.fromkeys(one.series_uid for one in listed))
    known = {series.series_uid: series for series in await index.series_of([study_key])}
    others = [uid for uid, series in known.items() if whole and series.online_count < series.instance_count]
    return [await _one(index, uid, known.get(uid)) for uid in dict.fromkeys([*names, *others])]


async def _one(index: StudyIndex, series_uid: str, series: SeriesDocument | None) -> SeriesWanted:
    if series is None or series.online_count == 0:
        return SeriesWanted(series_uid=series_uid)
    instances = await index.instances_of(series.id)
    missing = [one.sop_instance_uid for one in instances if not isinstance(one, InstanceDocument)]
    return SeriesWanted(series_uid=series_uid, instances=missing if len(missing) <= MAX_NAMED else [])
