"""How catalogues reach the centre: one contract for the door and for what the watch makes of its answers."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from edge_agent.adapters.catalogue_door import HttpCatalogueDoor
from edge_agent.errors import BatchRefused, CentreUnavailable
from edge_agent.model import SpooledInstance, forward_id


class Ingest:
    """Answers `POST /studies/{study}/catalogue` as it is told."""

    def __init__(self) -> None:
        self.status, self.body = 200, b'{"key": "tcm/1.2/abc.catalogue"}'
        self.requests: list[tuple[str, str, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, self.headers["Content-Type"], body))
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def ingest() -> Iterator[Ingest]:
    one = Ingest()
    yield one
    one.server.shutdown()
    one.server.server_close()
    one.thread.join()


async def test_catalogue_is_posted_under_its_study_and_its_key_returned(ingest: Ingest) -> None:
    door = HttpCatalogueDoor(ingest.url, None)
    assert await door.put("1.2", b"zstd") == "tcm/1.2/abc.catalogue"
    assert ingest.requests == [("/studies/1.2/catalogue", "application/vnd.imaging.catalogue+zstd", b"zstd")]
    await door.close()


@pytest.mark.parametrize("status", [400, 413, 415, 422])
async def test_catalogue_is_refused_for_good_when_it_is_at_fault(ingest: Ingest, status: int) -> None:
    ingest.status = status
    door = HttpCatalogueDoor(ingest.url, None)
    with pytest.raises(BatchRefused):
        await door.put("1.2", b"zstd")
    await door.close()


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503, 507])
async def test_catalogue_is_sent_again_when_the_centre_does_not_take_it_now(ingest: Ingest, status: int) -> None:
    ingest.status = status
    door = HttpCatalogueDoor(ingest.url, None)
    with pytest.raises(CentreUnavailable):
        await door.put("1.2", b"zstd")
    ingest.status, ingest.body = 200, b"[]"
    with pytest.raises(CentreUnavailable):
        await door.put("1.2", b"zstd")
    await door.close()
    away = HttpCatalogueDoor("http://127.0.0.1:9", None)
    with pytest.raises(CentreUnavailable):
        await away.put("1.2", b"zstd")
    await away.close()


def test_forwarded_batch_keeps_its_retrieval_id_when_sent_again_and_shares_it_with_none() -> None:
    first = SpooledInstance(7, "1.2", "1.2.3", f"{1:064x}", 10)
    later = replace(first, number=8)
    assert forward_id("tcm", first) == forward_id("tcm", first)
    assert len({forward_id(h, i) for h in ("tcm", "tertiary") for i in (first, later)}) == 4
    assert len(forward_id("tcm", first)) == 32
