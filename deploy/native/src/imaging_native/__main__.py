"""`python -m imaging_native run|fetch|deps`: what `make run`, `make fetch` and `make deps` call."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from imaging_native import debian
from imaging_native.fetch import fetch_all
from imaging_native.region import USERS, Region
from imaging_native.story import StoryFailed, play


async def run(*, once: bool, pictures: Path | None) -> int:
    """Start a region, play the story, and stay up until a signal; the exit code."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _end, ended, task)
    try:
        async with Region() as region:
            if path := os.environ.get("REGION_STATE"):
                await asyncio.to_thread(_write_state, Path(path), region.state)
            try:
                await play(region.state, pictures=pictures)
            except StoryFailed as failure:
                print(failure, flush=True)
                print(f"STORY FAIL {failure.step}", flush=True)
                if once:
                    return 1
            else:
                if once:
                    print("STORY PASS", flush=True)
                    return 0
            print(f"\nportal    {region.portal}/portal")
            for user in USERS:
                print(f"  {user:18} {region.state['users'][user]['password']}")
            print(f"processes and logs in {region.folder}; Ctrl-C ends the region", flush=True)
            await ended.wait()
    except asyncio.CancelledError:
        if not ended.is_set():
            raise
    except BaseExceptionGroup as group:
        for cause in group.exceptions:
            print(cause, flush=True)
        print("STORY FAIL start the region", flush=True)
        return 1
    return 0


def _write_state(path: Path, state: dict[str, Any]) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(state, indent=2, ensure_ascii=False) + "\n")


def _end(ended: asyncio.Event, task: "asyncio.Task[Any]") -> None:
    ended.set()
    task.cancel()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run_parser = commands.add_parser("run")
    run_parser.add_argument("--once", action="store_true")
    run_parser.add_argument("--pictures", type=Path)
    commands.add_parser("fetch")
    deps_parser = commands.add_parser("deps")
    deps_parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "deps":
        return debian.ensure(check_only=arguments.check)
    if arguments.command == "fetch":
        fetch_all()
        return 0
    return asyncio.run(run(once=arguments.once, pictures=arguments.pictures))


if __name__ == "__main__":
    sys.exit(main())
