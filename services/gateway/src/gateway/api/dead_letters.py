"""`/portal/dead-letters`: what services could not handle, why, and sending it back."""

import contextlib
import json
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, field, fields
from gateway.api.hospitals import OPERATORS, REGION, for_region_operators
from gateway.api.pages import unseen
from gateway.api.portal import Portal, identity_of
from gateway.api.roles import for_operators
from gateway.operations.desk import Operations
from gateway.operations.model import operates_region
from gateway.usecases.replay_letters import LetterDesk, TopicState
from gateway.web.render import Renderer
from imaging_common.messaging.dead_letters import DeadLetter

SHOWN = 50
PAYLOAD_CHARACTERS = 20_000
MISSING = ["GATEWAY_OPERATIONS_KAFKA_USERNAME", "GATEWAY_OPERATIONS_KAFKA_PASSWORD"]


def build_dead_letters(portal: Portal, renderer: Renderer, operations: Operations) -> APIRouter:
    """Topics, one topic's records, one record's payload, replay."""
    router = APIRouter(prefix="/portal/dead-letters", dependencies=[Depends(for_operators), Depends(csrf_protected)])

    def desk() -> LetterDesk:
        if operations.letters is None:
            raise HTTPException(404)
        return operations.letters

    async def page(request: Request, template: str, **context: Any) -> Response:
        return renderer.page(
            request,
            template,
            region=operates_region(identity_of(request).claims),
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
            unseen=await unseen(portal, request),
            **context,
        )

    async def state_of(request: Request, topic: str) -> TopicState:
        state = await desk().state(identity_of(request).claims, topic)
        if state is None:
            raise HTTPException(404)
        return state

    @router.get("", openapi_extra=OPERATORS)
    async def topics(request: Request) -> Response:
        """The topics that hold something."""
        if operations.letters is None:
            return await page(request, "ops_dead_letters.html", topics=[], missing=MISSING)
        found = await operations.letters.topics(identity_of(request).claims)
        found.sort(key=lambda one: (-one.waiting, one.topic.name))
        return await page(request, "ops_dead_letters.html", topics=found, missing=[])

    @router.get("/{topic}", openapi_extra=OPERATORS)
    async def topic_page(request: Request, topic: str, before: int | None = None) -> Response:
        """One topic's records, the newest first; `before`: an offset to page on."""
        state = await state_of(request, topic)
        found = await desk().entries(state, SHOWN + 1, before)
        return await page(
            request,
            "ops_dead_letter_topic.html",
            state=state,
            job=state.job,
            letters=[{"letter": one, "replayed": replayed} for one, replayed in found[:SHOWN]],
            older=found[SHOWN - 1][0].offset if len(found) > SHOWN else None,
            payload=desk().shows_payload(identity_of(request).claims, state),
        )

    @router.get("/{topic}/progress", openapi_extra=OPERATORS)
    async def progress(request: Request, topic: str) -> Response:
        """How far a replay is."""
        return await page(request, "_ops_replay.html", job=desk().job(identity_of(request).claims, topic))

    @router.get("/{topic}/{partition}/{offset}", openapi_extra=REGION, dependencies=[Depends(for_region_operators)])
    async def payload(request: Request, topic: str, partition: int, offset: int) -> Response:
        """What a record carries; 404 where it can be personal data."""
        state = await state_of(request, topic)
        if not desk().shows_payload(identity_of(request).claims, state):
            raise HTTPException(404)
        found = await desk().one(state, (partition, offset))
        if found is None:
            raise HTTPException(404)
        return await page(request, "_ops_payload.html", letter=found, text=_text(found))

    @router.post("/{topic}/replay", openapi_extra=REGION, dependencies=[Depends(for_region_operators)])
    async def replay(request: Request, topic: str) -> Response:
        """Send records back: those that were ticked, or all that wait."""
        state = await state_of(request, topic)
        chosen = None if await field(request, "all") else [_place(text) for text in await fields(request, "place")]
        places = None if chosen is None else {place for place in chosen if place is not None}
        await desk().replay(identity_of(request).claims, state, places)
        return RedirectResponse(f"/portal/dead-letters/{topic}", 303)

    return router


def _place(text: str) -> tuple[int, int] | None:
    partition, _, offset = text.partition("/")
    if partition.isdecimal() and offset.isdecimal() and len(text) < 30:
        return int(partition), int(offset)
    return None


def _text(letter: DeadLetter) -> str:
    """The value, indented where it is JSON."""
    text = (letter.value or b"").decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        text = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    return text[:PAYLOAD_CHARACTERS]
