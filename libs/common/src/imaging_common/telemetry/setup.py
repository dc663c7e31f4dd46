"""Sets up the tracer provider and the logs once per process."""

from typing import Any
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from imaging_common.settings import ServiceSettings
from imaging_common.telemetry.logs import configure_logs

_URL_ATTRIBUTES = ("http.url", "http.target", "url.full")


class WithoutQueryStrings(SpanProcessor):
    """Takes the query from every address that an instrumentation writes: a query can name a patient."""

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        """Replace the attributes before anybody can export them."""
        attributes = span.attributes or {}
        for name in _URL_ATTRIBUTES:
            value = attributes.get(name)
            if isinstance(value, str) and "?" in value:
                span.set_attribute(name, urlsplit(value)._replace(query="").geturl())
        if attributes.get("url.query"):
            span.set_attribute("url.query", "")


def setup_telemetry(service: str, settings: ServiceSettings) -> None:
    """Configure logs and traces of this process; a second call only sets the logs again."""
    configure_logs(service, settings.log_level)
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(WithoutQueryStrings())
    if settings.otlp_endpoint:
        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=5)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
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
