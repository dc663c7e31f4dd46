"""Server-sent events for open pages (HTML Living Standard §9.2): names of what changed, never content.

A notice comes with number, kind and link, and with an `id`: a stream that was cut is continued after the last one
(`Last-Event-ID`) by any copy of the gateway. Names have no id; a new stream begins with `resync` instead.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pymongo.errors import PyMongoError
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse

from gateway.api.portal import Portal, session_of
from gateway.live import Listener
from gateway.model import KeptNotice, Session, recipients_of
from imaging_common.access import Subject
from imaging_common.http import Access, access

STREAM_SECONDS = 600
"""Then the page connects again, and is asked again who it is."""
PING_SECONDS = 15
PAUSE_SECONDS = 0.5
"""Between two rounds of names: a burst of changes becomes one refresh, the last change included."""
LOOK_SECONDS = 5.0
"""So often a stream looks whether its session has ended: then it ends, too, and the page is left."""
REPLAYED = 200


def build_live(portal: Portal) -> APIRouter:
    """`GET /portal/events`."""
    router = APIRouter()

    @router.get("/portal/events", openapi_extra=access(Access.SIGNED_IN))
    async def events(request: Request) -> EventSourceResponse:
        """One event per thing that changed and concerns this person; `resync` first."""
        session = session_of(request)
        after = kept_at(request.headers.get("last-event-id", ""))

        async def subject_now() -> Subject:
            return await portal.authenticator.subject(session.claims, session)

        async def stream() -> AsyncIterator[ServerSentEvent]:
            async with portal.live.listen(subject_now) as listener:
                try:
                    async with asyncio.timeout(STREAM_SECONDS):
                        if after is not None:
                            for one in await portal.notices.since(recipients_of(session.claims), after, REPLAYED):
                                yield notice_event(one)
                        async for event in until_ended(portal, session, listener):
                            yield event
                except TimeoutError:
                    return

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return EventSourceResponse(stream(), ping=PING_SECONDS, headers=headers)

    return router


async def until_ended(portal: Portal, session: Session, listener: Listener) -> AsyncIterator[ServerSentEvent]:
    """What the page is told, as long as its session lasts; `ended` is the last."""
    clock = asyncio.get_running_loop().time
    looked = clock()
    while True:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                names = await listener.next()
        except TimeoutError:
            names = []
        if clock() - looked >= LOOK_SECONDS:
            looked = clock()
            if not await lasts(portal, session):
                yield ServerSentEvent(event="ended", data="")
                return
        for notice in listener.notices():
            yield notice_event(notice)
        for name in names:
            yield ServerSentEvent(event="changed", data=name)
        await asyncio.sleep(PAUSE_SECONDS)


async def lasts(portal: Portal, session: Session) -> bool:
    """Whether somebody is still signed in; while that cannot be asked, they are."""
    try:
        return await portal.sessions.find(session.key) is not None
    except PyMongoError:
        return True


def notice_event(kept: KeptNotice) -> ServerSentEvent:
    """A notice for an open page."""
    told = kept.notice.model_dump(mode="json", include={"notice_id", "kind", "number", "link", "urgency"})
    number = round(kept.kept_at.timestamp() * 1000)
    return ServerSentEvent(event="notice", id=str(number), data=json.dumps(told))


def kept_at(last_event_id: str) -> datetime | None:
    """The time that `notice_event` put into an id; None: it is none of ours."""
    if not last_event_id.isascii() or not last_event_id.isdigit() or len(last_event_id) > 13:
        return None
    return datetime.fromtimestamp(int(last_event_id) / 1000, UTC)
