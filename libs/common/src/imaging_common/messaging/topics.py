"""Topic names: templates with a `<part>` for per-hospital and per-organisation topics, and dead letter names."""

import re

_PLACEHOLDER = re.compile(r"<[a-z]+>")
_PART = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
DEAD_LETTER_INFIX = "-dlq-"


def topic_pattern(template: str) -> str:
    """The regular expression of the topics that a template names; dead letter topics never match.

    >>> bool(re.fullmatch(topic_pattern("edge-events-<hospital>"), "edge-events-community"))
    True
    >>> bool(re.fullmatch(topic_pattern("edge-events-<hospital>"), "edge-events-community-dlq-indexer"))
    False
    """
    pieces = [re.escape(piece) for piece in _PLACEHOLDER.split(template)]
    return rf"(?!.*{DEAD_LETTER_INFIX})" + _PART.join(pieces)


def subscription_pattern(templates: list[str]) -> str:
    """One anchored regular expression for all topics of a subscription."""
    return "^(?:" + "|".join(topic_pattern(template) for template in sorted(templates)) + ")$"


def dead_letter_topic(topic: str, service: str) -> str:
    """The topic that takes what `service` could not handle of `topic`."""
    return f"{topic}{DEAD_LETTER_INFIX}{service}"


def source_topic(dead_letter: str) -> str:
    """The topic whose dead letter this is.

    Raises
    ------
    ValueError
        The name is no dead letter topic's.
    """
    source, infix, service = dead_letter.partition(DEAD_LETTER_INFIX)
    if not (source and infix and service):
        raise ValueError(f"{dead_letter} is not a dead letter topic: its name has no {DEAD_LETTER_INFIX}")
    return source
