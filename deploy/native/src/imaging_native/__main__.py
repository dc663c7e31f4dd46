"""`python -m imaging_native run|fetch|ohif|deps`: what `make run`, `make fetch`, `make images` and `make deps` call."""

import argparse
import asyncio
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from imaging_native import debian
from imaging_native.fetch import FetchFailed, fetch_all, fetch_ohif
from imaging_native.process import StartFailed
from imaging_native.region import USERS, Region
from imaging_native.story import StoryFailed, play

PASSED = "STORY PASS"
START_FAILED = "STORY FAIL start the region"


async def run(*, once: bool, pictures: Path | None) -> int:
    """Start a region, play the story, and stay up until a signal; 0 if the story passed.

    With `once` the verdict is the last line, printed when every process has ended.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _end, ended, task)
    verdict = START_FAILED
    try:
        async with Region() as region:
            if path := os.environ.get("REGION_STATE"):
                await asyncio.to_thread(_write_state, Path(path), region.state)
            verdict = "STORY FAIL interrupted"
            verdict = await _verdict(region, pictures)
            if not once:
                print(verdict)
                _print_sign_ins(region)
                await ended.wait()
    except asyncio.CancelledError:
        if not ended.is_set():
            raise
    except Exception as error:
        _print_causes(error)
    if once or verdict == START_FAILED:
        print(verdict, flush=True)
    return int(verdict != PASSED)


async def _verdict(region: Region, pictures: Path | None) -> str:
    try:
        await play(region.state, pictures=pictures)
    except StoryFailed as failure:
        print(failure, flush=True)
        return f"STORY FAIL {failure.step}"
    except Exception as error:
        _print_causes(error)
        return "STORY FAIL prepare the story"
    return PASSED


def _print_sign_ins(region: Region) -> None:
    print(f"\nportal    {region.portal}/portal")
    for user in USERS:
        print(f"  {user:18} {region.state['users'][user]['password']}")
    if ehr := region.state.get("ehr", {}).get("url"):
        print(f"EHR       {ehr}")
    if mail := region.state.get("mail", {}).get("http"):
        print(f"mail      {mail}/messages")
    print(f"processes and logs in {region.folder}; Ctrl-C ends the region", flush=True)


def _print_causes(error: BaseException) -> None:
    """Servers and services that did not start are told by their log, everything else by its traceback."""
    if isinstance(error, BaseExceptionGroup):
        for cause in error.exceptions:
            _print_causes(cause)
    elif isinstance(error, StartFailed | FetchFailed):
        print(error, flush=True)
    else:
        traceback.print_exception(error)


def _write_state(path: Path, state: dict[str, Any]) -> None:
    """Whole or not at all, and for this user's eyes only."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.touch(mode=0o600)
    scratch.write_text(json.dumps(state, indent=2, ensure_ascii=False) + "\n")
    scratch.replace(path)


def _end(ended: asyncio.Event, task: "asyncio.Task[Any]") -> None:
    """The first signal ends the region; more of them do not cut that short."""
    if not ended.is_set():
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
    commands.add_parser("ohif")
    deps_parser = commands.add_parser("deps")
    deps_parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "deps":
        return debian.ensure(check_only=arguments.check)
    if arguments.command == "fetch":
        fetch_all()
        return 0
    if arguments.command == "ohif":
        print(fetch_ohif())
        return 0
    return asyncio.run(run(once=arguments.once, pictures=arguments.pictures))


if __name__ == "__main__":
    sys.exit(main())
