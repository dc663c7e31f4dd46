"""The viewer page's own stream: where the open studies lie, how they come. Its end says that the viewer left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.exceptions import HTTPException

from gateway.api.live import PING_SECONDS, STREAM_SECONDS
from gateway.api.portal import Portal, session_of
from gateway.api.roles import for_image_roles
from gateway.usecases.open_viewer import MAX_STUDIES, opened_studies
from gateway.web.i18n import Translator
from gateway.web.places import PlaceView, away_text, places_of, progress_text
from gateway.web.render import Renderer, language_of
from imaging_common.access import Subject
from imaging_common.http import Access, access
from imaging_common.index.model import StudyDocument

PAUSE_SECONDS = 0.5
LOOK_AGAIN_SECONDS = 5.0
"""Heartbeats that fail to come are no event."""


def build_viewing(portal: Portal, renderer: Renderer) -> APIRouter:
    """`GET /portal/viewing?study=<uid>[,<uid>…]`."""
    router = APIRouter(dependencies=[Depends(for_image_roles)])

    @router.get("/portal/viewing", openapi_extra=access(Access.STUDY))
    async def viewing(request: Request, study: str) -> EventSourceResponse:
        """One event `state` whenever it changes: `{"lines": […]}`, a line for each holder of each open study."""
        session = session_of(request)
        uids = study.split(",")
        if len(uids) > MAX_STUDIES:
            raise HTTPException(400, f"at most {MAX_STUDIES} studies")
        t = Translator(language_of(request))

        async def subject_now() -> Subject:
            return await portal.authenticator.subject(session.claims, session)

        async def state(documents: list[StudyDocument]) -> bytes:
            names = {entry.hospital: entry.name(t.language) for entry in await portal.registry.all()}
            places = await places_of(portal.retriever, documents)
            versions = {document.id: document.version for document in documents}
            return orjson.dumps(
                {
                    "lines": [
                        line(place, names.get(place.holder, place.holder), t)
                        | {"key": key, "version": f"{versions[key].epoch}.{versions[key].n}"}
                        for key, place in places.items()
                    ]
                }
            )

        def line(place: PlaceView, name: str, t: Translator) -> dict[str, Any]:
            told = {"where": f"{name} · {t('tier.' + place.tier)}", "availability": place.availability}
            if place.progress is not None:
                told |= {"percent": str(place.progress.percent), "progress": progress_text(place.progress, t)}
            elif place.tier == "partly":
                told |= {"progress": t("place.partly", online=place.online, total=place.total)}
            if place.away is not None:
                told["warning"] = away_text(place.away, name, t, renderer.moment)
            return told

        async def stream() -> AsyncIterator[ServerSentEvent]:
            async with AsyncExitStack() as stack, portal.live.listen(subject_now) as listener:
                documents = await opened_studies(portal.index, await subject_now(), uids)
                for document in documents:
                    if document.tier != "central":
                        await stack.enter_async_context(portal.retriever.viewing(document.holder, document.study_uid))
                last = b""
                with suppress(TimeoutError):
                    async with asyncio.timeout(STREAM_SECONDS):
                        while True:
                            now = await state(documents)
                            if now != last:
                                last = now
                                yield ServerSentEvent(event="state", data=now.decode())
                            await asyncio.sleep(PAUSE_SECONDS)
                            with suppress(TimeoutError):
                                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                                    await listener.next()
                            documents = await opened_studies(portal.index, await subject_now(), uids)

        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return EventSourceResponse(stream(), ping=PING_SECONDS, headers=headers)

    return router
