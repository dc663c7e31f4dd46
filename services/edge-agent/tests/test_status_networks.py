"""Who may ask an edge agent for its status: its own machine, and networks that the hospital names."""

from ipaddress import ip_network

import pytest
from fastapi import HTTPException, Request

from edge_agent.api import only_from
from edge_agent.settings import Settings


def asked_by(address: str | None) -> Request:
    """A request from an address."""
    return Request({"type": "http", "client": (address, 4711) if address else None})


@pytest.mark.parametrize("address", ["10.1.2.3", "192.0.2.1", "testclient", None])
def test_nobody_but_the_own_machine_may_ask_without_a_network(address: str | None) -> None:
    check = only_from([])
    check(asked_by("127.0.0.1"))
    check(asked_by("::1"))
    with pytest.raises(HTTPException) as refused:
        check(asked_by(address))
    assert refused.value.status_code == 403


def test_a_named_network_may_ask_and_its_neighbour_not() -> None:
    check = only_from([ip_network("10.1.2.0/24"), ip_network("fd00::/8")])
    check(asked_by("10.1.2.3"))
    check(asked_by("fd00::1"))
    check(asked_by("127.0.0.1"))
    with pytest.raises(HTTPException):
        check(asked_by("10.1.3.3"))


def test_receiving_processes_start_with_networks_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("EDGE_AGENT_STATUS_NETWORKS", '["10.1.2.0/24"]')
    settings = Settings(hospital="community", ae_title="COMMUNITY", spool_dir=str(tmp_path), ingest_url="https://x")
    monkeypatch.delenv("EDGE_AGENT_STATUS_NETWORKS")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings().status_networks == []
