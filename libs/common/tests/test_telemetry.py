"""Traces reach a collector without query strings, logs carry trace ids and no error texts, health tells the truth."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from imaging_common.errors import RejectedError, RetryableError
from imaging_common.http import Problem, create_app
from imaging_common.settings import ServiceSettings
from imaging_common.telemetry.context import attached, context_of, current_traceparent, link_to
from imaging_common.telemetry.logs import OncePer

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Span]]]:
    """An OTLP/HTTP receiver and the spans it was sent."""
    spans: list[Span] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
            spans.extend(s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", spans
    server.shutdown()
    server.server_close()
    thread.join()


SERVICE = """
import asyncio, sys, warnings
warnings.simplefilter("error")
from contextlib import asynccontextmanager
import httpx
from imaging_common.http import Access, access, create_app
from imaging_common.settings import ServiceSettings
from imaging_common.telemetry import get_logger, get_tracer

@asynccontextmanager
async def lifespan(app):
    yield

app = create_app("indexer", ServiceSettings(otlp_endpoint=sys.argv[1]), lifespan=lifespan, checks={})

@app.get("/studies/{uid}", openapi_extra=access(Access.PUBLIC))
async def study(uid: str):
    get_logger("test").info("study-asked", count=1)
    with get_tracer("test").start_as_current_span("look up"):
        raise ValueError("ZHANG^SAN")

async def main():
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://indexer") as client:
            headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
            assert (await client.get("/studies/1.2?PatientName=ZHANG", headers=headers)).status_code == 500
            assert (await client.get("/health/live")).status_code == 200

asyncio.run(main())
"""


async def test_spans_reach_the_collector_without_query_strings(collector: tuple[str, list[Span]]) -> None:
    endpoint, spans = collector
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", SERVICE, endpoint], capture_output=True, timeout=60, text=True
    )
    assert run.returncode == 0, run.stderr
    by_name = {span.name: span for span in spans}
    served = by_name["GET /studies/{uid}"]
    assert by_name["look up"].parent_span_id == served.span_id
    assert served.trace_id == by_name["look up"].trace_id
    attributes = str([[(a.key, a.value) for a in span.attributes] for span in spans])
    assert "ZHANG" not in attributes
    assert not [span.name for span in spans if "health" in span.name and span.kind == Span.SPAN_KIND_SERVER]
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    asked = next(line for line in lines if line["event"] == "study-asked")
    assert (asked["trace_id"], asked["span_id"]) == (served.trace_id.hex(), served.span_id.hex())
    assert asked["service"] == "indexer"
    failed = next(line for line in lines if line["event"] == "request-failed")
    assert failed["error"].startswith("ValueError at ")
    assert "ZHANG" not in run.stdout


def test_traceparent_is_attached_and_left_again() -> None:
    assert current_traceparent() is None
    with attached(TRACEPARENT):
        assert current_traceparent() == TRACEPARENT
        with attached(None):
            assert current_traceparent() == TRACEPARENT
    assert current_traceparent() is None


def test_invalid_traceparent_is_ignored() -> None:
    with attached("00-nonsense"):
        assert current_traceparent() is None
    assert link_to("00-nonsense") is None
    link = link_to(TRACEPARENT)
    assert link is not None
    assert f"{link.context.trace_id:032x}" in TRACEPARENT
    assert context_of(None) == {}


def test_library_is_heard_once_when_it_repeats_itself() -> None:
    once = OncePer(60)
    noise = logging.LogRecord("aiokafka.conn", logging.ERROR, "conn.py", 12, "away", None, None)
    other = logging.LogRecord("aiokafka.conn", logging.ERROR, "conn.py", 99, "other", None, None)
    ours = logging.LogRecord("imaging_common.messaging", logging.ERROR, "x.py", 1, "event", None, None)
    assert [once.filter(r) for r in (noise, noise, other, ours, ours)] == [True, False, True, True, True]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield


async def works() -> None:
    return None


async def fails() -> None:
    raise RetryableError("secret text")


async def hangs() -> None:
    await asyncio.Event().wait()


@pytest.fixture(scope="module")
def app() -> FastAPI:
    app = create_app(
        "test",
        ServiceSettings(),
        lifespan=lifespan,
        checks={"works": works, "fails": fails, "hangs": hangs},
        details={"room": lambda: "enough"},
    )

    @app.get("/raise/{kind}")
    async def raises(kind: str, number: int = 0) -> None:
        errors = {
            "problem": Problem(409, "somebody was faster", version=4),
            "rejected": RejectedError("the study is closed"),
            "retryable": RetryableError("mongodb is away"),
        }
        raise errors.get(kind) or ValueError("ZHANG^SAN")

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_ready_names_the_failed_checks_within_their_deadline(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(5):
        answer = await client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"works": "ok", "fails": "RetryableError", "hangs": "no answer within 2 s"}
    assert answer.json()["details"] == {"room": "enough"}
    assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/raise/problem", 409, "somebody was faster"),
        ("/raise/rejected", 422, "the study is closed"),
        ("/raise/retryable", 503, "a part of the system is away; try again"),
        ("/raise/crash", 500, "Internal Server Error"),
        ("/raise/crash?number=ZHANG", 422, "the request does not fit"),
        ("/nowhere", 404, "Not Found"),
    ],
)
async def test_errors_are_problems(client: httpx.AsyncClient, path: str, status: int, detail: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (answer.json()["status"], answer.json()["detail"]) == (status, detail)
    assert "ZHANG" not in answer.text


async def test_problem_carries_its_members_and_metrics_name_routes_only(client: httpx.AsyncClient) -> None:
    assert (await client.get("/raise/problem")).json()["version"] == 4
    assert (await client.get("/raise/crash")).status_code == 500
    metrics = (await client.get("/metrics")).text
    assert 'imaging_http_seconds_count{method="GET",route="/raise/{kind}",status="500"}' in metrics
    assert "/raise/crash" not in metrics
