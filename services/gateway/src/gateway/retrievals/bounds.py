"""How long retrievals and those who wait for them may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long things may take, in seconds."""

    frame: float = 30.0
    """One image may be waited for so long."""
    silence: float = 60.0
    """A whole series or study is given up when nothing lands for so long."""
    lasts: float = 3600.0
    """A retrieval's deadline."""
    debounce: float = 0.1
    """Further wants are collected for so long."""
    pause: float = 0.4
    """Between two revisions on behalf of one copy."""
    poll: float = 1.0
    lease: float = 15.0
    """A copy that does not renew its interest for so long has lost it."""
    linger: float = 10.0
    """After the last one left."""
    answer: float = 5.0
    """A hospital that has not answered by then is told again."""
    refusal: float = 10.0
    """A failure is believed for so long before the hospital is asked again."""
    prefetch: float = 1800.0
    tick: float = 2.0
