"""One trace leads from a C-STORE to `StudyChanged`; a batch links the instances whose traces it does not continue."""

from pathlib import Path

from imaging_native import ct
from imaging_native.asking import until
from imaging_native.otlp import OtlpReceiver
from imaging_native.region import Region
from imaging_native.story.images import ImageScene

ON_THE_WAY = {
    ("edge-agent", "C-STORE"),
    ("edge-agent", "send-batch"),
    ("dicom-ingest", "instances-received"),
    ("indexer", "study-changed"),
    ("notification", "ehr-residents-events"),
}
"""Service and a part of a span's name, each of which the trace must have."""


async def test_trace_leads_from_c_store_to_study_changed(region: Region, otlp: OtlpReceiver, tmp_path: Path) -> None:
    series = ct.write_series(tmp_path, slices=4, seed=777001)
    scene = ImageScene(region.state, tmp_path, 4)
    before = {span.span_id for span in otlp.spans}
    await scene.dcmsend(series.files)
    await scene.aclose()

    def complete_traces() -> list[str]:
        fresh = [span for span in otlp.spans if span.span_id not in before]
        starts = [span.trace_id for span in fresh if span.name == "C-STORE"]
        return [
            trace_id
            for trace_id in starts
            if all(
                any(span.service == service and part in span.name for span in otlp.trace(trace_id))
                for service, part in ON_THE_WAY
            )
        ]

    async def arrived() -> list[str]:
        return complete_traces()

    (trace_id, *_) = await until(arrived, "a trace from C-STORE to the EHR's topic")
    sent = [span for span in otlp.trace(trace_id) if span.name == "send-batch"]
    others = {span.trace_id for span in otlp.spans if span.name == "C-STORE" and span.span_id not in before}
    linked = {link for span in sent for link in span.links}
    assert linked
    assert linked <= others - {trace_id}


def test_spans_carry_no_personal_data(otlp: OtlpReceiver) -> None:
    told = " ".join(f"{span.name} {span.attributes}" for span in otlp.spans)
    assert ct.WANG.patient_id not in told
    assert "Xiaodong" not in told
    assert "王" not in told
