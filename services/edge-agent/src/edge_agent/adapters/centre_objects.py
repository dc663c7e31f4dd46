"""The objects of a report as the gateway's DICOMweb gives them (PS3.18 §10.4, §10.6), checked against their digest."""

import asyncio
import hashlib
from pathlib import Path

from edge_agent.errors import RegionUnavailable
from edge_agent.services.region import Line, RegionDicomweb
from edge_agent.writebacks import FetchedObject, WriteBackObject
from imaging_common.ids import is_uid

SERIES_UID = "0020000E"


class RegionObjects:
    """`CentreObjects` over the region's DICOMweb."""

    def __init__(self, region: RegionDicomweb) -> None:
        self._region = region

    async def fetch(self, holder: str, study_uid: str, wanted: WriteBackObject) -> FetchedObject:
        """See `CentreObjects`."""
        return await asyncio.to_thread(self._fetch, holder, study_uid, wanted)

    def _fetch(self, holder: str, study_uid: str, wanted: WriteBackObject) -> FetchedObject:
        uid, study = wanted.sop_instance_uid, f"/hospitals/{holder}/studies/{study_uid}"
        rows = list(self._region.search(f"{study}/instances", [("SOPInstanceUID", uid)], 1))
        series_uid = str((rows[0].get(SERIES_UID, {}).get("Value") or [""])[0]) if rows else ""
        if not is_uid(series_uid):
            raise RegionUnavailable("the centre does not list the object yet")
        found: Path | None = None
        try:
            for path in self._region.files(f"{study}/series/{series_uid}/instances/{uid}", Line()):
                if found is None and _digest(path) == wanted.sha256:
                    found = path
                else:
                    path.unlink(missing_ok=True)
        except BaseException:
            if found is not None:
                found.unlink(missing_ok=True)
            raise
        if found is None:
            raise RegionUnavailable("the centre gives other bytes than it told")
        return FetchedObject(found, uid, series_uid)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
