"""The story of the region, from the modality to the applicant: what `make run` plays, asserted."""

import os
from pathlib import Path

from imaging_native.region import Region
from imaging_native.story import play


async def test_story_passes_when_the_region_runs(region: Region) -> None:
    pictures = os.environ.get("PICTURES")
    await play(region.state, pictures=Path(pictures) if pictures else None)
