"""Takes personal data out of spans before they are exported: query strings, and the texts of exceptions."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

_URLS = frozenset({"http.url", "http.target", "url.full"})
_DROPPED = frozenset({"url.query", "exception.message", "exception.stacktrace", "http.user_agent"})


class ScrubbingExporter(SpanExporter):
    """Exports cleaned copies of the spans; instrumentations write what they like."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Clean and pass on."""
        return self._exporter.export([clean(span) for span in spans])

    def shutdown(self) -> None:
        """Close the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Pass on what is held."""
        return self._exporter.force_flush(timeout_millis)


def clean(span: ReadableSpan) -> ReadableSpan:
    """A copy of the span without query strings and exception texts; names, types and codes stay."""
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_clean(span.attributes or {}),
        events=[Event(event.name, _clean(event.attributes or {}), event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
    )


def _clean(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: urlsplit(value)._replace(query="").geturl() if name in _URLS and isinstance(value, str) else value
        for name, value in attributes.items()
        if name not in _DROPPED
    }
