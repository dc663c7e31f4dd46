"""Another holder's copy stands in when a holder cannot give its pixels (design: identity of things).

Only pixels, only where the digests say that they are the same, only of holders whose study the asker may see, and
always said. The header stays that of the holder whose study is shown. Whole files hold a header, so nothing stands in
for them; who asks for one holder by name (`/hospitals/{holder}`) gets that holder's bytes or the truth about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from gateway.dicomweb.access import OpenStudy
from gateway.dicomweb.locations import Locations
from gateway.dicomweb.partial import refused, standing_in
from gateway.dicomweb.pixels import PIXEL_TAGS
from gateway.errors import HolderAway
from imaging_common.index.identity import may_stand_in, stand_in
from imaging_common.index.model import InstanceDocument, ListedInstance
from imaging_common.index.read import StudyIndex

_log = structlog.get_logger(__name__)
DESCRIPTION = (*PIXEL_TAGS, "00280008")
"""What says how the bytes of Pixel Data are read, Number of Frames too."""


@dataclass(frozen=True, slots=True)
class Shown:
    """An instance whose pixels are here."""

    instance: InstanceDocument
    """Where the bytes are: at the holder that was asked, or at the one that stands in for it."""
    listed: ListedInstance
    """The instance that was asked for: its header belongs to the pixels."""
    warning: str = ""
    """The value of the header `Warning`; empty: the bytes are the holder's own."""

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says of where its pixels come from."""
        return {"Warning": self.warning} if self.warning else {}


class StandIns:
    """Finds the pixels of an instance, if need be at another holder."""

    def __init__(self, index: StudyIndex, locations: Locations) -> None:
        self._index = index
        self._locations = locations

    async def here(self, opened: OpenStudy, listed: ListedInstance, *, named: bool, whole: bool = True) -> Shown:
        """The instance with its pixels in the centre.

        Parameters
        ----------
        named
            The asker named the holder: nobody stands in.
        whole
            The rest of its study is wanted after it.

        Raises
        ------
        Problem
            503 or 410: neither its holder nor another can give it.
        """
        priority = opened.priority
        try:
            return Shown(await self._locations.brought(listed, whole=whole, priority=priority), listed)
        except HolderAway as error:
            found = None if named else await self._of_another(opened, listed, whole=whole)
            if found is None:
                raise refused(error.away) from error
            _log.info("another-holder-stands-in", holder=listed.holder, other=found.holder, reason=error.away.reason)
            return Shown(found, listed, standing_in(error.away, found.holder))

    async def _of_another(self, opened: OpenStudy, listed: ListedInstance, *, whole: bool) -> InstanceDocument | None:
        """What lies in the centre goes before what must be brought."""
        keys = [key for key in opened.keys if key != f"{listed.holder}/{listed.study_uid}"]
        copies = [await self._index.instance(key, listed.sop_instance_uid) for key in keys]
        able = [one for one in copies if one is not None and may_stand_in(listed, one)]
        able = await self._described_alike(listed, able)
        if (found := stand_in(listed, able)) is not None:
            return found
        for one in able:
            try:
                found = await self._locations.brought(one, whole=whole, priority=opened.priority)
            except HolderAway:
                continue
            if may_stand_in(listed, found):  # what the PACS gave now may be something else
                return found
        return None

    async def _described_alike(self, wanted: ListedInstance, others: list[ListedInstance]) -> list[ListedInstance]:
        """Those whose header reads the same bytes as the same pixels."""
        if not others:
            return []
        headers = await self._index.headers([wanted.id, *(one.id for one in others)])
        described = {key: description(orjson.loads(header)) for key, header in headers.items()}
        return [one for one in others if one.id in described and described[one.id] == described.get(wanted.id)]


def description(header: Mapping[str, Any]) -> list[Any]:
    """The values of a header that say how Pixel Data is read."""
    return [header.get(tag, {}).get("Value") for tag in DESCRIPTION]
