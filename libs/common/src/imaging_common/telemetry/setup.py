"""Sets up the tracer provider and the logs once per process."""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from imaging_common.settings import ServiceSettings
from imaging_common.telemetry.logs import configure_logs
from imaging_common.telemetry.scrub import ScrubbingExporter


def setup_telemetry(service: str, settings: ServiceSettings) -> None:
    """Configure logs and traces of this process; a second call only sets the logs again."""
    configure_logs(service, settings.log_level)
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    if settings.otlp_endpoint:
        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=5)
        provider.add_span_processor(BatchSpanProcessor(ScrubbingExporter(exporter), schedule_delay_millis=500))
    trace.set_tracer_provider(provider)
    HTTPXClientInstrumentor().instrument()


def shutdown_telemetry() -> None:
    """Export what is left, within a few seconds."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.force_flush(timeout_millis=3000)


def get_tracer(name: str) -> trace.Tracer:
    """The tracer of a module."""
    return trace.get_tracer(name)
