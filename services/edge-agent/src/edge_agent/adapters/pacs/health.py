"""Whether the PACS answers, as everything that calls it tells."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from imaging_common.telemetry import get_logger

_log = get_logger(__name__)


class LastCall:
    """`PacsHealth` in memory; any thread may tell."""

    def __init__(self) -> None:
        self.on_turn: Callable[[], None] = lambda: None
        """Called, in the telling thread, when the PACS stops or begins to answer."""
        self._lock = threading.Lock()
        self._reachable: bool | None = None
        self._since = datetime.now(UTC)

    def answered(self) -> None:
        """See `PacsHealth`."""
        self._turn(True, "")

    def failed(self, reason: str) -> None:
        """See `PacsHealth`."""
        self._turn(False, reason)

    @property
    def state(self) -> tuple[bool, datetime] | None:
        """Whether the last call was answered, and since when that is so; None: there was none yet."""
        with self._lock:
            return None if self._reachable is None else (self._reachable, self._since)

    def _turn(self, reachable: bool, reason: str) -> None:
        with self._lock:
            if self._reachable is reachable:
                return
            self._reachable, self._since = reachable, datetime.now(UTC)
        if reachable:
            _log.info("pacs-answers")
        else:
            _log.warning("pacs-does-not-answer", reason=reason)
        self.on_turn()
