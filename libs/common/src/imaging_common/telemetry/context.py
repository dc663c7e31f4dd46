"""The W3C trace context as a string, to be stored beside a state change and attached again later or in a thread."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_propagator = TraceContextTextMapPropagator()


def current_traceparent() -> str | None:
    """The `traceparent` (W3C Trace Context §3.2) of the current span, or None outside of one."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent")


def context_of(traceparent: str | None) -> context.Context:
    """The context that a `traceparent` describes; an invalid one is ignored, as §3.2.2.3 asks."""
    return _propagator.extract({"traceparent": traceparent} if traceparent else {}, context=context.Context())


def link_to(traceparent: str | None) -> trace.Link | None:
    """A link to another trace's span: how a batch names the instances whose traces it does not continue."""
    span_context = trace.get_current_span(context_of(traceparent)).get_span_context()
    return trace.Link(span_context) if span_context.is_valid else None


@contextmanager
def attached(traceparent: str | None) -> Iterator[None]:
    """Make `traceparent` the current context within the block; None leaves the current one."""
    if traceparent is None:
        yield
        return
    token = context.attach(context_of(traceparent))
    try:
        yield
    finally:
        context.detach(token)
