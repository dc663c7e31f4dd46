"""A stand-in for the centre's STOW-RS door, on a real socket, that answers as it is told."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from imaging_common.dicom import check_instance
from imaging_native.fetch import cache_folder

os.environ["PYTHONPYCACHEPREFIX"], os.environ["PYTHONDONTWRITEBYTECODE"] = str(cache_folder() / "pycache"), ""
"""An agent is several processes, and these tests start many: compiled files are kept, as the region's are, also where
the environment wants none; else each process compiles its imports anew, for seconds."""
Decide = Callable[["StandIn", dict[str, str]], "int | dict[str, int]"]
"""(stand-in, SOP Instance UID -> SHA-256 of the request) -> an HTTP status, or Failure Reasons by UID."""


class StandIn:
    """Keeps what it was sent."""

    def __init__(self) -> None:
        self.stored: dict[str, set[str]] = {}
        self.batches: list[list[str]] = []
        self.headers: list[dict[str, str]] = []
        self.decide: Decide = lambda _, __: {}
        self.changed = threading.Condition()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, document = stand_in.take(self.path, dict(self.headers), body)
                raw = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def count(self) -> int:
        return sum(map(len, self.stored.values()))

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        boundary = b"--" + headers["Content-Type"].split("boundary=")[1].encode()
        parts = [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in body.split(boundary)[1:-1]]
        checked = [check_instance(part) for part in parts]
        assert {f"/studies/{one.study_uid}" for one in checked} == {path.split("?")[0]}
        digests = {one.sop_instance_uid: one.sha256 for one in checked}
        assert len(digests) == len(parts)
        with self.changed:
            decision = self.decide(self, digests)
            self.batches.append(list(digests))
            self.headers.append(headers)
            self.changed.notify_all()
            if isinstance(decision, int):
                return decision, {}
            good = {uid: digest for uid, digest in digests.items() if uid not in decision}
            for uid, digest in good.items():
                self.stored.setdefault(uid, set()).add(digest)
        document = {
            "00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in good]},
            "00081198": {
                "vr": "SQ",
                "Value": [
                    {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
                    for uid, reason in decision.items()
                ],
            },
        }
        return (202 if decision and good else 409 if decision else 200), document


@pytest.fixture
def centre() -> Iterator[StandIn]:
    """A stand-in that stores everything until told otherwise."""
    one = StandIn()
    yield one
    one.close()


@pytest.fixture(scope="module")
def shared_centre() -> Iterator[StandIn]:
    """One for the module's tests; it stores everything."""
    one = StandIn()
    yield one
    one.close()
