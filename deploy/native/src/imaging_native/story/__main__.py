"""`python -m imaging_native.story`: plays the story against a deployed region (settings: `STORY_…`).

The last line is `STORY PASS` or `STORY FAIL <step>`; it ends with 0 or 1.
"""

import asyncio
import sys
from pathlib import Path

from imaging_native.story import StoryFailed, play
from imaging_native.story.deployed import DeployedRegion


def main() -> int:
    """Play it once."""
    try:
        region = DeployedRegion()
        pictures = Path(region.pictures) if region.pictures else None
        asyncio.run(play(region.state(), slices=region.slices, pictures=pictures))
    except StoryFailed as failure:
        print(failure, flush=True)
        print(f"STORY FAIL {failure.step}", flush=True)
        return 1
    except OSError as error:
        print(f"{error}\nSTORY FAIL prepare the story", flush=True)
        return 1
    print("STORY PASS", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
