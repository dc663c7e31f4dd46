"""The contracts of the release in use, kept in a folder: `<Type>.json` (schemas), `examples/`, `topics/`."""

import json
import shutil
from pathlib import Path

from imaging_common.contracts.compatibility import incompatibilities
from imaging_common.contracts.schemas import schema_of
from imaging_common.contracts.topics import TopicContract, load_topics
from imaging_common.events import EVENT_TYPES

COPIED = ("examples", "topics")


def broken_since(baseline: Path, topics_folder: Path) -> list[str]:
    """What changed so since the baseline was taken that old and new services cannot run together."""
    found: list[str] = []
    for path in sorted(baseline.glob("*.json")):
        model = EVENT_TYPES.get(path.stem)
        if model is None:
            found.append(f"{path.stem}: the event type is gone")
            continue
        changes = incompatibilities(json.loads(path.read_text()), schema_of(model))
        found += [f"{path.stem}: {change}" for change in changes]
    today = {topic.name: topic for topic in load_topics(topics_folder)}
    for before in load_topics(baseline / "topics"):
        found += [f"{before.name}: {change}" for change in topic_changes(before, today.get(before.name))]
    return found


def topic_changes(before: TopicContract, after: TopicContract | None) -> list[str]:
    """What about a topic breaks its old readers or writers, or the order of what is in it."""
    if after is None:
        return ["the topic is gone"]
    found = [f"event type {event} is not on it any more" for event in before.events if event not in after.events]
    for name in ("key", "partitions", "cleanup_policy"):
        if getattr(before, name) != getattr(after, name):
            found.append(f"{name} changed")
    return found


def take_baseline(baseline: Path, schemas: Path, accept_breaking: bool) -> list[str]:
    """Write the baseline anew; return what keeps it from being written."""
    broken = broken_since(baseline, schemas / "topics")
    if broken and not accept_breaking:
        return broken
    baseline.mkdir(parents=True, exist_ok=True)
    for path in baseline.glob("*.json"):
        path.unlink()
    for name, model in EVENT_TYPES.items():
        (baseline / f"{name}.json").write_text(json.dumps(schema_of(model), indent=1, ensure_ascii=False) + "\n")
    for part in COPIED:
        shutil.rmtree(baseline / part, ignore_errors=True)
        shutil.copytree(schemas / part, baseline / part)
    return []
