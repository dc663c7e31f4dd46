"""JSON logs on standard output, each line with trace and span id. Fields are keywords; personal data never is one."""

import logging
import sys
import time
import traceback
from typing import Any, cast

import structlog
from opentelemetry import trace

_QUIET = (
    "aiokafka",
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "pymongo",
    "urllib3",
    "asyncio",
    "pynetdicom",
    "pydicom",
)

REPEAT_SECONDS = 10.0


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; the event's name is the first argument, everything else a keyword."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(name))


def configure_logs(service: str, level: str) -> None:
    """Send structlog's and the standard library's records to standard output as JSON lines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _add_service(service),
        _add_trace,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = StdoutHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=())],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _add_stack,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    handler.addFilter(OncePer(REPEAT_SECONDS))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("faststream").setLevel(logging.ERROR)


class StdoutHandler(logging.Handler):
    """Writes to what standard output is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            sys.stdout.write(self.format(record) + "\n")
            sys.stdout.flush()
        except Exception:
            self.handleError(record)


class OncePer(logging.Filter):
    """Lets a library say the same thing once in so many seconds; aiokafka says 90 times a second that Kafka is away."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._said: dict[tuple[str, int], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is passed on; structlog's own records always are."""
        if not record.name.startswith(_QUIET):
            return True
        place, now = (record.pathname, record.lineno), time.monotonic()
        if now - self._said.get(place, -self._seconds) < self._seconds:
            return False
        self._said[place] = now
        return True


def _add_service(service: str) -> Any:
    def add(_: Any, __: str, record: dict[str, Any]) -> dict[str, Any]:
        record["service"] = service
        return record

    return add


def _add_trace(_: Any, __: str, record: dict[str, Any]) -> dict[str, Any]:
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        record["trace_id"] = trace.format_trace_id(span.trace_id)
        record["span_id"] = trace.format_span_id(span.span_id)
    return record


def place_of(error: BaseException) -> str:
    """Where an error was raised: type, file and line; never its text, which may hold what a message held."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    last = frames[-1]
    return f"{type(error).__name__} at {last.filename.rsplit('/', 1)[-1]}:{last.lineno} in {last.name}"


def _render(exc_info: Any) -> list[str]:
    """The stack without any text of an error: a value in it may be a patient's."""
    frames = [f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno} {f.name}" for f in traceback.extract_tb(exc_info[2])]
    causes: list[str] = []
    error = exc_info[1].__cause__ or exc_info[1].__context__
    while error is not None and len(causes) < 5:
        causes.append(place_of(error))
        error = error.__cause__ or error.__context__
    return [place_of(exc_info[1]), *causes, *reversed(frames[-20:])]


_add_stack = structlog.processors.ExceptionRenderer(_render)
