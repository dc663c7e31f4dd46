"""`make replay`: replays a dead letter topic of a local region, whose state file (`REGION_STATE`) has the credentials.

Without a state file the environment must name Kafka: `REPLAY_KAFKA_BOOTSTRAP`, `REPLAY_KAFKA_USERNAME`,
`REPLAY_KAFKA_PASSWORD`.
"""

import json
import os
import sys
from pathlib import Path

from imaging_common.messaging.replay import main as replay


def main() -> int:
    """The command line; the exit code."""
    path = os.environ.get("REGION_STATE")
    if path:
        kafka = json.loads(Path(path).read_text())["kafka"]
        os.environ["REPLAY_KAFKA_BOOTSTRAP"] = kafka["bootstrap"]
        os.environ["REPLAY_KAFKA_USERNAME"] = "admin"
        os.environ["REPLAY_KAFKA_PASSWORD"] = kafka["users"]["admin"]
    elif "REPLAY_KAFKA_BOOTSTRAP" not in os.environ:
        print("replay needs REGION_STATE=<file of a running region>, or REPLAY_KAFKA_BOOTSTRAP, …_USERNAME, …_PASSWORD")
        return 2
    return replay()


if __name__ == "__main__":
    sys.exit(main())
