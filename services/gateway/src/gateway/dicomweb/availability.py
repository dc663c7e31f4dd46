"""Instance Availability (0008,0056) of rows of a search, and who could not be asked (decision 0005)."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.dicomweb.locations import Locations
from gateway.retrievals.model import Away, availability
from imaging_common.index.read import Row, StudyIndex

BEST_FIRST = ("ONLINE", "NEARLINE", "OFFLINE", "UNAVAILABLE")


class Availability:
    """For the rows of one answer.

    Parameters
    ----------
    upper
        Study documents by `_id`, which say in which tier what lies below them is.
    """

    def __init__(self, locations: Locations, upper: Mapping[str, Mapping[str, Any]]) -> None:
        self._locations = locations
        self._upper = upper
        self._online: set[str] | None = None
        self.aways: dict[str, Away] = {}
        """The holders that cannot be asked for what is not here."""

    async def look_up(self, index: StudyIndex, documents: Sequence[Mapping[str, Any]]) -> None:
        """Instances know no counts: ask which of those of other tiers are here."""
        keys = [document["_id"] for document in documents if self._tier(document) != "central"]
        self._online = {one.id for one in await index.located(keys)} if keys else set()

    def of(self, row: Row) -> str:
        """The best that any of its holders offers."""
        states = [self._of_one(document) for document in row.documents]
        return min(states, key=BEST_FIRST.index)

    def _of_one(self, document: Mapping[str, Any]) -> str:
        tier = self._tier(document)
        facts = {**document, "tier": tier}
        if self._online is not None:
            facts |= {"instance_count": 1, "online_count": int(document["_id"] in self._online)}
        if (state := availability(facts, None)) != "NEARLINE":
            return state
        away = self._locations.away(document["holder"], document["study_uid"])
        if away is not None:
            self.aways[away.holder] = away
        return availability(facts, away)

    def _tier(self, document: Mapping[str, Any]) -> str:
        study = self._upper.get(document.get("study_key", ""), document)
        return str(study.get("tier", "central"))
