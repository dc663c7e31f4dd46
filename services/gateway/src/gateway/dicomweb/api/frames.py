"""WADO-RS pixels (PS3.18 §10.4.1.1.2–6): frames, bulk data, rendered pictures and thumbnails."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway.dicomweb import pixels
from gateway.dicomweb.access import NOT_FOUND
from gateway.dicomweb.api.retrieve import STORED_IN, accepted
from gateway.dicomweb.conversion import stored_syntax
from gateway.dicomweb.multipart import Multipart
from gateway.dicomweb.negotiation import OCTETS, FrameForm, choose, choose_frame_form
from gateway.dicomweb.rendered import BadLook, Look, is_preview, parse_look
from gateway.dicomweb.services import Services
from gateway.dicomweb.standins import Shown
from imaging_common.access import SHARE_ROLE
from imaging_common.http import Access, access
from imaging_common.index.model import InstanceDocument, ListedInstance

AT_ONCE_BYTES = 16 * 1024 * 1024
MAX_FRAME_LIST = 10_000
PIXEL_DATA = "7FE00010"
PICTURES = ("image/jpeg", "image/png")


def parse_frame_list(text: str) -> list[int]:
    """`1,2,5`: numbers from 1 (PS3.18 §10.4.1.1.6); 400 otherwise."""
    parts = text.split(",")
    if len(parts) > MAX_FRAME_LIST or not all(part.isdecimal() and 0 < int(part) < 10**9 for part in parts):
        raise HTTPException(400, "Frames are listed by numbers from 1, with commas between.")
    return [int(part) for part in parts]


def named(request: Request) -> bool:
    """Whether the asker named the holder."""
    return "holder" in request.path_params


def build_frames(services: Services, *, mark_links: bool = False) -> APIRouter:
    """Frames, bulk data, rendered, thumbnail.

    Parameters
    ----------
    mark_links
        Pictures that leave by a share link carry its name and the time.
    """
    router = APIRouter()

    frame = services.frames.frame

    async def unaligned(shown: Shown, numbers: list[int], form: FrameForm) -> Response:
        """Frames that have no bytes of their own in the file."""
        instance = shown.instance
        if form.media_type != OCTETS:
            raise HTTPException(406, "These frames are only given as application/octet-stream.")
        parts = [(form.part_type, data) async for data in services.frames.unaligned(instance, numbers)]
        return answer(parts, form, instance.location.bucket, shown)

    def answer(parts: list[tuple[str, bytes]], form: FrameForm, bucket: str, shown: Shown) -> Response:
        headers = {STORED_IN: bucket, "Cache-Control": "private, no-store", **shown.headers}
        if not form.multipart:
            return Response(parts[0][1], headers={**headers, "Content-Type": form.part_type})
        return Multipart(form.media_type).whole(parts, headers)

    async def stream(shown: Shown, numbers: list[int], form: FrameForm) -> Response:
        """Many frames, one in memory at a time (and one read ahead)."""
        instance, multipart = shown.instance, Multipart(form.media_type)
        first, bucket = await frame(instance, numbers[0], form)

        async def body() -> AsyncIterator[bytes]:
            data = first
            for position in range(len(numbers)):
                if position:
                    data, _ = await frame(instance, numbers[position], form)
                yield multipart.head(form.part_type) + data + b"\r\n"
            yield multipart.end

        return multipart.stream(body(), {STORED_IN: bucket, "Cache-Control": "private, no-store", **shown.headers})

    async def picture(shown: Shown, number: int, look: Look) -> Response:
        try:
            body = await services.renderer.picture(shown.instance, number, look, shown.listed)
        except (pixels.CannotDecode, IndexError) as error:
            raise HTTPException(404 if isinstance(error, IndexError) else 406, "There is no such picture.") from error
        headers = {"Cache-Control": "private, no-store", **shown.headers}
        return Response(body, media_type=look.media_type, headers=headers)

    async def marked(request: Request, look: Look) -> Look:
        subject = await services.subject_of(request)
        if not mark_links or SHARE_ROLE not in subject.roles:
            return look
        return replace(look, mark=f"{subject.user} {datetime.now(UTC):%Y-%m-%d %H:%MZ}")

    def wanted_look(request: Request, *, thumbnail: bool = False) -> Look:
        chosen = choose(accepted(request), PICTURES)
        if chosen is None:
            raise HTTPException(406, "Pictures are image/jpeg or image/png.")
        try:
            look = parse_look(request.query_params, chosen.type)
        except BadLook as error:
            raise HTTPException(400, str(error)) from error
        if thumbnail and look.viewport is None:
            size = pixels.THUMBNAIL
            look = Look(look.media_type, look.window, (size, size, None), min(look.quality, 80))
        return look

    async def middle(
        request: Request, study: str, series: str | None, *, bring: bool = False, preview: bool = False
    ) -> Shown:
        """The instance that stands for a series or study: the middle one with frames, of those that are here.

        A list full of thumbnails must not bring every listed study, so what is not here is 404 unless `bring`.
        """
        opened = await services.open(request, study, fresh=False, used=bring, preview=preview)
        absent: list[ListedInstance] = []
        for one in await services.index.series_of(opened.keys):
            if series in (None, one.series_uid):
                found = list((await services.locations.series(one.id, fresh=one.online_count > 0)).by_uid.values())
                shown = [i for i in found if isinstance(i, InstanceDocument) and i.pixel_sha256]
                if shown:
                    return Shown(shown[len(shown) // 2], shown[len(shown) // 2])
                absent += [i for i in found if not isinstance(i, InstanceDocument)]
        if bring and absent:
            return await services.stand_ins.here(opened, absent[len(absent) // 2], named=named(request))
        raise HTTPException(404, NOT_FOUND)

    async def instance_of(request: Request, study: str, series: str, instance: str, *, own: bool = False) -> Shown:
        """The instance, brought from its hospital if need be; the rest of its study comes after it.

        `own`: more than pixels is wanted of it, so no other holder's copy may stand in.
        """
        opened = await services.open(request, study, fresh=False)
        listed = await services.locations.instance(opened.keys, series, instance)
        return await services.stand_ins.here(opened, listed, named=own or named(request))

    async def thumbnail_of(request: Request, study: str, series: str, instance: str, look: Look) -> Shown:
        """The instance, if it is here."""
        opened = await services.open(request, study, fresh=False, used=False, preview=is_preview(look))
        listed = await services.locations.instance(opened.keys, series, instance)
        if not isinstance(listed, InstanceDocument):
            raise HTTPException(404, NOT_FOUND)
        return Shown(listed, listed)

    for root in ("", "/hospitals/{holder}"):
        below = f"{root}/studies/{{study}}/series/{{series}}/instances/{{instance}}"

        @router.get(f"{below}/frames/{{frames}}", openapi_extra=access(Access.STUDY))
        async def retrieve_frames(request: Request, study: str, series: str, instance: str, frames: str) -> Response:
            numbers = parse_frame_list(frames)
            shown = await instance_of(request, study, series, instance)
            found = shown.instance
            if found.pixel_sha256 is None:
                raise HTTPException(404, NOT_FOUND)
            form = choose_frame_form(accepted(request), stored_syntax(found), frames=len(numbers))
            if form is None:
                raise HTTPException(406, "These frames cannot be given in a form that is accepted.")
            try:
                if not found.location.frames:
                    return await unaligned(shown, numbers, form)
                if max(numbers) > len(found.location.frames):
                    raise HTTPException(404, NOT_FOUND)
                largest = found.location.native_frame_length or 0
                sizes = [max(largest, sum(size for _, size in found.location.frames[n - 1])) for n in numbers]
                if len(numbers) > 1 and sum(sizes) > AT_ONCE_BYTES:
                    return await stream(shown, numbers, form)
                made = [await frame(found, number, form) for number in numbers]
            except IndexError as error:
                raise HTTPException(404, NOT_FOUND) from error
            except pixels.CannotDecode as error:
                raise HTTPException(406, "These frames can only be given as they are stored.") from error
            return answer([(form.part_type, data) for data, _ in made], form, made[0][1], shown)

        @router.get(f"{below}/rendered", openapi_extra=access(Access.STUDY))
        async def rendered(request: Request, study: str, series: str, instance: str) -> Response:
            look = await marked(request, wanted_look(request))
            return await picture(await instance_of(request, study, series, instance), 1, look)

        @router.get(f"{below}/frames/{{frames}}/rendered", openapi_extra=access(Access.STUDY))
        async def rendered_frame(request: Request, study: str, series: str, instance: str, frames: str) -> Response:
            look, numbers = await marked(request, wanted_look(request)), parse_frame_list(frames)
            found = await instance_of(request, study, series, instance)
            return await picture(found, numbers[0], look)

        @router.get(f"{below}/thumbnail", openapi_extra=access(Access.STUDY))
        async def thumbnail(request: Request, study: str, series: str, instance: str) -> Response:
            look = wanted_look(request, thumbnail=True)
            return await picture(await thumbnail_of(request, study, series, instance, look), 1, look)

        @router.get(f"{below}/frames/{{frames}}/thumbnail", openapi_extra=access(Access.STUDY))
        async def frame_thumbnail(request: Request, study: str, series: str, instance: str, frames: str) -> Response:
            look, numbers = wanted_look(request, thumbnail=True), parse_frame_list(frames)
            found = await thumbnail_of(request, study, series, instance, look)
            return await picture(found, numbers[0], look)

        @router.get(f"{root}/studies/{{study}}/series/{{series}}/thumbnail", openapi_extra=access(Access.STUDY))
        async def series_thumbnail(request: Request, study: str, series: str) -> Response:
            look = wanted_look(request, thumbnail=True)
            return await picture(await middle(request, study, series, preview=is_preview(look)), 1, look)

        @router.get(f"{root}/studies/{{study}}/thumbnail", openapi_extra=access(Access.STUDY))
        async def study_thumbnail(request: Request, study: str) -> Response:
            look = wanted_look(request, thumbnail=True)
            return await picture(await middle(request, study, None, preview=is_preview(look)), 1, look)

        @router.get(f"{root}/studies/{{study}}/series/{{series}}/rendered", openapi_extra=access(Access.STUDY))
        async def series_rendered(request: Request, study: str, series: str) -> Response:
            look = await marked(request, wanted_look(request))
            return await picture(await middle(request, study, series, bring=True), 1, look)

        @router.get(
            f"{root}/studies/{{study}}/series/{{series}}/bulkdata/{{instance}}/{{tag:path}}",
            openapi_extra=access(Access.STUDY),
        )
        async def bulkdata(request: Request, study: str, series: str, instance: str, tag: str) -> Response:
            shown = await instance_of(request, study, series, instance, own=tag.upper() != PIXEL_DATA)
            found = shown.instance
            chosen = choose(accepted(request), (OCTETS,))
            if chosen is None:
                raise HTTPException(406, f"Bulk data is {OCTETS}.")
            try:
                value = await asyncio.to_thread(pixels.bulk_value, await services.frames.dataset(found), tag)
            except pixels.CannotDecode as error:
                raise HTTPException(406, "This value is too large to be given as one.") from error
            if value is None:
                raise HTTPException(404, NOT_FOUND)
            headers = {STORED_IN: found.location.bucket, **shown.headers}
            if chosen.multipart:
                return Multipart(OCTETS).whole([(OCTETS, value)], headers)
            return Response(value, media_type=OCTETS, headers=headers)

    return router
