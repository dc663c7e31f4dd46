"""Server-sent events for open pages (HTML Living Standard §9.2): names of what changed, never content."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse

from gateway.api.portal import Portal, session_of
from imaging_common.access import Subject
from imaging_common.http import Access, access

STREAM_SECONDS = 600
"""Then the page connects again, and is asked again who it is."""
PING_SECONDS = 15
PAUSE_SECONDS = 0.5
"""Between two rounds of names: a burst of changes becomes one refresh, the last change included."""


def build_live(portal: Portal) -> APIRouter:
    """`GET /portal/events`."""
    router = APIRouter()

    @router.get("/portal/events", openapi_extra=access(Access.SIGNED_IN))
    async def events(request: Request) -> EventSourceResponse:
        """One event per thing that changed and concerns this person; `resync` first."""
        session = session_of(request)

        async def subject_now() -> Subject:
            return await portal.authenticator.subject(session.claims, session)

        async def stream() -> AsyncIterator[ServerSentEvent]:
            async with portal.live.listen(subject_now) as listener:
                try:
                    async with asyncio.timeout(STREAM_SECONDS):
                        while True:
                            for name in await listener.next():
                                yield ServerSentEvent(event="changed", data=name)
                            await asyncio.sleep(PAUSE_SECONDS)
                except TimeoutError:
                    return

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return EventSourceResponse(stream(), ping=PING_SECONDS, headers=headers)

    return router
