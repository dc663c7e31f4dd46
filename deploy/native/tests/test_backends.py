"""Which servers a region takes: plain processes, containers, or a clear refusal."""

import gc

import pytest

from imaging_native.backends import Backends, chosen_backends
from imaging_native.process import StartFailed
from imaging_native.servers import Kafka


def test_servers_are_plain_processes_when_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKENDS", raising=False)
    assert chosen_backends() == Backends()
    assert chosen_backends().kafka is Kafka


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # docker-py leaves a socket to gc
def test_containers_without_an_engine_are_a_failure_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("BACKENDS", "containers")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    with pytest.raises(StartFailed, match=r"none answers at unix://.*/no-engine.sock.*leave BACKENDS out"):
        chosen_backends()
    gc.collect()


def test_other_backends_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKENDS", "podman")
    with pytest.raises(StartFailed, match="BACKENDS=podman: say `processes` or `containers`"):
        chosen_backends()
