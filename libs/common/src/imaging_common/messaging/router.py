"""Collects a service's handlers: which function takes which event type from which topic."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from imaging_common.events import EVENT_TYPES, Envelope, Event
from imaging_common.messaging.topics import topic_pattern

E = TypeVar("E", bound=Event)
Handler = Callable[[Any, Envelope], Awaitable[None]]


class EventRouter:
    """The handlers of one service; `Messaging.include` puts them to work."""

    def __init__(self) -> None:
        self._handlers: dict[tuple[str, str], Handler] = {}
        self._patterns: dict[str, re.Pattern[str]] = {}

    @property
    def topics(self) -> list[str]:
        """The topics and templates that are read."""
        return sorted(self._patterns)

    def on(
        self, event_type: type[E], *topics: str
    ) -> Callable[[Callable[[E, Envelope], Awaitable[None]]], Callable[[E, Envelope], Awaitable[None]]]:
        """Register the decorated function for `event_type` on each of `topics` (names or templates).

        Raises
        ------
        ValueError
            No topic, an event type that is not a contract, or a second handler for the same pair.
        """
        if not topics:
            raise ValueError("a handler needs a topic")
        if EVENT_TYPES.get(event_type.type_name()) is not event_type:
            raise ValueError(f"{event_type.type_name()} is not among the contracts (EVENT_TYPES)")

        def register(handler: Callable[[E, Envelope], Awaitable[None]]) -> Callable[[E, Envelope], Awaitable[None]]:
            for topic in topics:
                self._add(event_type.type_name(), topic, handler)
            return handler

        return register

    def include(self, other: "EventRouter") -> None:
        """Take over the handlers of another router."""
        for (event_type, topic), handler in other._handlers.items():
            self._add(event_type, topic, handler)

    def find(self, event_type: str, topic: str) -> Handler | None:
        """The handler of an event type on a concrete topic, if there is one."""
        for template, pattern in self._patterns.items():
            handler = self._handlers.get((event_type, template))
            if handler is not None and pattern.fullmatch(topic):
                return handler
        return None

    def _add(self, event_type: str, topic: str, handler: Handler) -> None:
        if (event_type, topic) in self._handlers:
            raise ValueError(f"two handlers for {event_type} on {topic}")
        self._handlers[event_type, topic] = handler
        self._patterns[topic] = re.compile(topic_pattern(topic))
