"""One trace leads from a doctor's click to the hospital's PACS and back to the answered frame."""

import asyncio
import secrets
from contextlib import aclosing
from pathlib import Path

import pytest
from opentelemetry.instrumentation.utils import suppress_http_instrumentation

from imaging_common.testing.waiting import until
from imaging_native import ct
from imaging_native.distributed import ANY_FRAME, fill_pacs, frame_url, until_listed
from imaging_native.otlp import OtlpReceiver, ReceivedSpan
from imaging_native.region import Region
from imaging_native.session import portal_client

SLICES = 6


def on_the_way(hospital: str, way: str) -> set[tuple[str, str]]:
    """Service and span's name, or its beginning, each of which the trace must have."""
    return {
        ("gateway", "GET /dicomweb/"),
        ("gateway", f"publish edge-commands-{hospital}"),
        ("edge-agent", f"process edge-commands-{hospital}"),
        ("edge-agent", f"PACS {way}"),
        ("edge-agent", "send-retrieved"),
        ("dicom-ingest", "POST "),
        ("dicom-ingest", "publish instances-received"),
        ("object-writer", "process instances-received"),
        ("indexer", "process instances-received"),
        ("indexer", "publish study-changed"),
        ("edge-agent", f"publish edge-events-{hospital}"),
    }


@pytest.mark.parametrize(("hospital", "way"), [("tertiary", "wado-rs"), ("tcm", "c-get")])
async def test_trace_leads_from_a_click_to_the_pacs_and_back(
    region: Region, otlp: OtlpReceiver, tmp_path: Path, hospital: str, way: str
) -> None:
    series = await asyncio.to_thread(ct.write_series, tmp_path, slices=SLICES, seed=secrets.randbelow(10**9))
    await fill_pacs(region.state["pacs"][hospital], series.files)
    trace_id, click = secrets.token_hex(16), secrets.token_hex(8)
    async with aclosing(await portal_client(region.state, f"doctor.{hospital}")) as doctor:
        await until_listed(doctor, series.study_uid, SLICES)
        clicked = {"Accept": ANY_FRAME, "traceparent": f"00-{trace_id}-{click}-01"}
        with suppress_http_instrumentation():  # another test of the run may have put its own header in this one's place
            answer = await doctor.get(frame_url(series, series.files[SLICES // 2]), headers=clicked, timeout=90)
    assert answer.status_code == 200

    def missing() -> set[tuple[str, str]]:
        spans = otlp.trace(trace_id)
        wanted = on_the_way(hospital, way)
        return {(who, what) for who, what in wanted if not any(_is(span, who, what) for span in spans)}

    async def whole() -> bool:
        return not missing()

    try:
        await until(whole)
    except AssertionError as error:
        there = sorted({(span.service, span.name) for span in otlp.trace(trace_id)})
        raise AssertionError(f"the trace lacks {sorted(missing())}; it has {there}") from error
    await _until_rooted(otlp, trace_id, click)


async def _until_rooted(otlp: OtlpReceiver, trace_id: str, click: str) -> None:
    """Every span's parent is in the trace, or is the click itself: nothing hangs in the air."""

    async def rooted() -> bool:
        spans = otlp.trace(trace_id)
        return {span.parent_id for span in spans} <= {span.span_id for span in spans} | {click}

    await until(rooted)


def _is(span: ReceivedSpan, service: str, name: str) -> bool:
    return span.service == service and span.name.startswith(name)
