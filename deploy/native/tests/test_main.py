"""What `make run` says last, and what it returns."""

import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imaging_native import __main__ as command
from imaging_native import debian
from imaging_native.process import StartFailed
from imaging_native.story import StoryFailed


class FakeRegion:
    """Starts nothing."""

    folder = Path("/nowhere")
    portal = "http://127.0.0.1:1"
    state = {"users": {user: {"password": "p"} for user in command.USERS}}
    ended = False

    async def __aenter__(self) -> "FakeRegion":
        return self

    async def __aexit__(self, *_: object) -> None:
        type(self).ended = True


class BrokenRegion(FakeRegion):
    """Does not start."""

    async def __aenter__(self) -> FakeRegion:
        raise ExceptionGroup("start", [StartFailed("indexer ended while starting:\nits log")])


def story(error: BaseException | None = None, act: Callable[[], None] = lambda: None) -> Callable[..., Any]:
    async def play(state: dict[str, Any], *, pictures: Path | None) -> None:
        act()
        if error:
            raise error

    return play


async def run(
    monkeypatch: pytest.MonkeyPatch,
    play: Callable[..., Any],
    *,
    region: type[FakeRegion] = FakeRegion,
    once: bool = True,
) -> int:
    monkeypatch.setattr(command, "Region", region)
    monkeypatch.setattr(command, "play", play)
    return await command.run(once=once, pictures=None)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


async def test_story_pass_is_the_last_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(monkeypatch, story()) == 0
    assert last_line(capsys) == "STORY PASS"


async def test_failed_step_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(monkeypatch, story(StoryFailed("frames from staging", ValueError("none")))) == 1
    assert last_line(capsys) == "STORY FAIL frames from staging"


async def test_story_that_cannot_begin_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(monkeypatch, story(OSError("no browser"))) == 1
    assert last_line(capsys) == "STORY FAIL prepare the story"


@pytest.mark.parametrize("once", [True, False])
async def test_region_that_does_not_start_shows_the_log_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], once: bool
) -> None:
    assert await run(monkeypatch, story(), region=BrokenRegion, once=once) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["its log", "STORY FAIL start the region"]


async def test_interrupted_story_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def endless(state: dict[str, Any], *, pictures: Path | None) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        await command.asyncio.Event().wait()

    assert await run(monkeypatch, endless) == 1
    assert last_line(capsys) == "STORY FAIL interrupted"
    assert FakeRegion.ended


async def test_region_stays_up_until_a_signal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_print_sign_ins", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert await run(monkeypatch, story(), once=False) == 0
    assert last_line(capsys) == "STORY PASS"


async def test_state_is_written_whole_and_for_this_user_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "region.json"
    path.write_text("of an earlier run")
    monkeypatch.setenv("REGION_STATE", str(path))
    assert await run(monkeypatch, story()) == 0
    assert command.json.loads(path.read_text()) == FakeRegion.state
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [path.name]


def test_missing_package_is_one_line_each_and_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debian, "missing", lambda: ["dcmtk", "chromium"])
    assert debian.ensure(check_only=True) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in lines] == ["dcmtk", "chromium"]
