"""A fetch is whole or not there, once for all who ask, and tries again."""

import multiprocessing
from pathlib import Path

import pytest

from imaging_native import fetch


def install(folder: Path) -> None:
    (folder / "server").write_text("bytes")


def test_second_fetch_downloads_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "server-1.0"
    assert fetch._once(target, "download", install) == target
    assert "server-1.0: download" in capsys.readouterr().out
    fetch._once(target, "download", pytest.fail)
    assert capsys.readouterr().out == ""


def test_nothing_is_left_when_a_fetch_fails(tmp_path: Path) -> None:
    def half(folder: Path) -> None:
        install(folder)
        raise fetch.FetchFailed("connection reset")

    with pytest.raises(fetch.FetchFailed, match="connection reset"):
        fetch._once(tmp_path / "server-1.0", "download", half)
    assert list(tmp_path.iterdir()) == []


def test_fetch_is_tried_again_when_the_client_fails(tmp_path: Path) -> None:
    tries = []

    def flaky(folder: Path) -> None:
        tries.append(folder)
        if len(tries) < 3:
            raise fetch.FetchFailed("connection reset")
        install(folder)

    assert (fetch._once(tmp_path / "server-1.0", "download", flaky) / "server").read_text() == "bytes"


def test_scratch_of_a_killed_fetch_goes(tmp_path: Path) -> None:
    (tmp_path / ".server-1.0-abc").mkdir()
    fetch._once(tmp_path / "server-1.0", "download", install)
    assert [path.name for path in tmp_path.iterdir()] == ["server-1.0"]


def _fetch_and_note(cache: Path, results: "multiprocessing.Queue[int]") -> None:
    installs = 0

    def counted(folder: Path) -> None:
        nonlocal installs
        installs += 1
        install(folder)

    with fetch._lock(cache / "fetch.lock"):
        fetch._once(cache / "server-1.0", "download", counted)
    results.put(installs)


def test_two_programs_share_one_fetch(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[int] = context.Queue()
    programs = [context.Process(target=_fetch_and_note, args=(tmp_path, results)) for _ in range(2)]
    for program in programs:
        program.start()
    assert sum(results.get(timeout=60) for _ in programs) == 1
    for program in programs:
        program.join()


def test_cache_folder_is_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMAGING_CACHE", str(tmp_path))
    assert fetch.cache_folder() == tmp_path
    monkeypatch.delenv("IMAGING_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetch.cache_folder() == tmp_path / "imaging-cloud"


def test_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchFailed, match="no such artifact"):
        fetch._command("sh", "-c", "echo no such artifact; exit 1", cwd=tmp_path)
