"""WADO-RS (PS3.18 §10.4): files and their metadata, of studies, series and instances."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from gateway.dicomweb.access import NOT_FOUND, OpenStudy
from gateway.dicomweb.ahead import opened_ahead
from gateway.dicomweb.files import stream_file
from gateway.dicomweb.metadata import KEPT_INSTANCES, PLACEHOLDER, gzipped
from gateway.dicomweb.multipart import Multipart
from gateway.dicomweb.negotiation import DICOM, DICOM_JSON, MediaRange, choose, parse_accept
from gateway.dicomweb.partial import WARNING, refused, warnings
from gateway.dicomweb.services import Services, root_of
from gateway.errors import HolderAway
from gateway.retrievals.model import Away
from imaging_common.http import Access, access
from imaging_common.index.model import InstanceDocument, ListedInstance, SeriesDocument
from imaging_common.objects.store import ObjectNotFound

STORED_IN = "Imaging-Stored-In"


def accepted(request: Request) -> list[MediaRange]:
    """The media ranges of a request, header and query parameter."""
    return parse_accept(request.query_params.get("accept"), *request.headers.getlist("accept"))


def build_retrieve(services: Services) -> APIRouter:
    """Study, series, instance and their metadata."""
    router = APIRouter()

    async def series_of(opened: OpenStudy, series_uid: str | None = None) -> list[SeriesDocument]:
        """The series, each at the first of the holders that has it; 404 when there is none."""
        order = {key: position for position, key in enumerate(opened.keys)}
        chosen: dict[str, SeriesDocument] = {}
        for series in sorted(await services.index.series_of(opened.keys), key=lambda s: order[s.study_key]):
            if series.instance_count and series_uid in (None, series.series_uid):
                chosen.setdefault(series.series_uid, series)
        if not chosen:
            raise HTTPException(404, NOT_FOUND)
        return list(chosen.values())

    async def files(
        request: Request, instances: AsyncIterator[InstanceDocument], aways: Sequence[Away] = ()
    ) -> Response:
        """The files; 206 when it is known that some of them cannot be given (PS3.18 §10.4.3.3)."""
        ranges = _file_ranges(request)
        try:
            first = await anext(instances, None)
        except HolderAway as error:
            raise refused(error.away) from error
        if first is None:
            raise refused(aways[0]) if aways else HTTPException(404, NOT_FOUND)
        wanted = _file_range(ranges, first.transfer_syntax_uid)
        chunks = _file_chunks(first)
        head = await anext(chunks)
        headers = {STORED_IN: first.location.bucket}
        if not wanted.multipart and wanted.type == DICOM and "instance" in request.path_params:
            return StreamingResponse(_continued(head, chunks), media_type=DICOM, headers=headers)
        answer = Multipart(DICOM)

        async def body() -> AsyncIterator[bytes]:
            yield answer.head(_file_type(first))
            async for chunk in _continued(head, chunks):
                yield chunk
            yield b"\r\n"
            async with aclosing(opened_ahead(instances, _file_chunks)) as opened:
                async for instance, pieces in opened:
                    yield answer.head(_file_type(instance))
                    async for piece in pieces:
                        yield piece
                    yield b"\r\n"
            yield answer.end

        response = answer.stream(body(), headers)
        if aways:
            response.status_code = 206
            response.headers[WARNING] = warnings(aways)
        return response

    async def _file_chunks(instance: InstanceDocument) -> AsyncIterator[bytes]:
        """The file; looked up anew when it moved before its first byte."""
        try:
            chunks = stream_file(services.store, instance)
            head = await anext(chunks)
        except ObjectNotFound:
            chunks = stream_file(services.store, await services.locations.moved(instance))
            head = await anext(chunks)
        async for chunk in _continued(head, chunks):
            yield chunk

    async def _instances(
        opened: OpenStudy, series: list[SeriesDocument], aways: Sequence[Away]
    ) -> AsyncIterator[InstanceDocument]:
        """What is here, series by series, then the rest in the order in which it lands."""
        absent: dict[str, list[ListedInstance]] = {}
        for one in series:
            for instance in (await services.locations.series(one.id, fresh=True)).by_uid.values():
                if isinstance(instance, InstanceDocument):
                    yield instance
                else:
                    absent.setdefault(one.holder, []).append(instance)
        for holder, missing in absent.items():
            if not any(away.holder == holder for away in aways):
                async for instance in services.locations.each(missing, priority=opened.priority):
                    yield instance

    def aways_of(opened: OpenStudy, short: list[SeriesDocument]) -> list[Away]:
        """The holders that cannot be asked for what is missing of these series."""
        holders = dict.fromkeys(one.holder for one in short)
        found = [services.locations.away(holder, opened.study_uid) for holder in holders]
        return [away for away in found if away is not None]

    async def all_files(request: Request, study: str, series_uid: str | None = None) -> Response:
        opened = await services.open(request, study)
        series = await series_of(opened, series_uid)
        elsewhere = opened.elsewhere
        aways = aways_of(opened, [s for s in series if s.study_key in elsewhere and s.online_count < s.instance_count])
        return await files(request, _instances(opened, series, aways), aways)

    def bulk_base(request: Request, series: SeriesDocument) -> str:
        return f"{root_of(request)}/studies/{series.study_uid}/series/{series.series_uid}/bulkdata/"

    async def whole_headers(opened: OpenStudy, series: list[SeriesDocument]) -> list[Away]:
        """Wait until whole headers are known, which viewers need; who cannot give those that are missing."""
        short = [s for s in series if s.study_key in opened.elsewhere and s.header_count < s.instance_count]
        aways = aways_of(opened, short)
        for one in short:
            if any(away.holder == one.holder for away in aways):
                continue
            listed = (await services.locations.series(one.id, fresh=True)).by_uid.values()
            try:
                bare = [i for i in listed if not i.header_full and not isinstance(i, InstanceDocument)]
                async for _ in services.locations.each(bare, priority=opened.priority):
                    pass
            except HolderAway as error:
                aways.append(error.away)
        return aways

    async def metadata(request: Request, study: str, series_uid: str | None = None) -> Response:
        """Whole headers only. What cannot be had is left out with a `Warning`; the status stays 200, since viewers
        take no other."""
        wanted = choose(accepted(request), (DICOM_JSON, "application/json"))
        if wanted is None:
            raise HTTPException(406, f"Metadata is {DICOM_JSON}.")
        opened = await services.open(request, study)
        series = await series_of(opened, series_uid)
        if opened.elsewhere and any(s.header_count < s.instance_count for s in series):
            aways = await whole_headers(opened, series)
            opened = await services.open(request, study)
            series = await series_of(opened, series_uid)
            if aways and not any(s.header_count for s in series):
                raise refused(aways[0])
        else:
            aways = []
        headers = {"ETag": opened.etag, "Cache-Control": "private, no-cache", "Vary": "Accept, Accept-Encoding, Cookie"}
        if aways:
            headers |= {WARNING: warnings(aways), "Cache-Control": "no-store"}
            del headers["ETag"]
        elif opened.etag in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        zipped = "gzip" in request.headers.get("accept-encoding", "")
        if zipped:
            headers["Content-Encoding"] = "gzip"
        if len(series) == 1 and series[0].instance_count <= KEPT_INSTANCES and not aways:
            made = await services.metadata.series(series[0].id, opened.etag, bulk_base(request, series[0]))
            return Response(made.compressed if zipped else made.plain, media_type=wanted.type, headers=headers)
        chunks = services.metadata.stream([(one.id, bulk_base(request, one)) for one in series])
        return StreamingResponse(gzipped(chunks) if zipped else chunks, media_type=wanted.type, headers=headers)

    for root in ("", "/hospitals/{holder}"):

        @router.get(f"{root}/studies/{{study}}", openapi_extra=access(Access.STUDY))
        async def retrieve_study(request: Request, study: str) -> Response:
            return await all_files(request, study)

        @router.get(f"{root}/studies/{{study}}/series/{{series}}", openapi_extra=access(Access.STUDY))
        async def retrieve_series(request: Request, study: str, series: str) -> Response:
            return await all_files(request, study, series)

        @router.get(
            f"{root}/studies/{{study}}/series/{{series}}/instances/{{instance}}", openapi_extra=access(Access.STUDY)
        )
        async def retrieve_instance(request: Request, study: str, series: str, instance: str) -> Response:
            opened = await services.open(request, study, fresh=False)
            listed = await services.locations.instance(opened.keys, series, instance)
            found = await services.locations.here(listed, priority=opened.priority)

            async def one() -> AsyncIterator[InstanceDocument]:
                yield found

            return await files(request, one())

        @router.get(f"{root}/studies/{{study}}/metadata", openapi_extra=access(Access.STUDY))
        async def study_metadata(request: Request, study: str) -> Response:
            return await metadata(request, study)

        @router.get(f"{root}/studies/{{study}}/series/{{series}}/metadata", openapi_extra=access(Access.STUDY))
        async def series_metadata(request: Request, study: str, series: str) -> Response:
            return await metadata(request, study, series)

        @router.get(
            f"{root}/studies/{{study}}/series/{{series}}/instances/{{instance}}/metadata",
            openapi_extra=access(Access.STUDY),
        )
        async def instance_metadata(request: Request, study: str, series: str, instance: str) -> Response:
            wanted = choose(accepted(request), (DICOM_JSON, "application/json"))
            if wanted is None:
                raise HTTPException(406, f"Metadata is {DICOM_JSON}.")
            opened = await services.open(request, study)
            found = await services.locations.instance(opened.keys, series, instance)
            if not found.header_full:
                found = await services.locations.here(found, priority=opened.priority)
            header = (await services.index.headers([found.id]))[found.id]
            base = f"{root_of(request)}/studies/{study}/series/{series}/bulkdata/"
            body = b"[" + header.replace(PLACEHOLDER, base.encode()) + b"]"
            return Response(body, media_type=wanted.type, headers={"ETag": _tag_of(header)})

    return router


def _file_ranges(request: Request) -> list[MediaRange]:
    ranges = [wanted for wanted in accepted(request) if wanted.takes(DICOM)]
    if not ranges:
        raise HTTPException(406, f"Files are {DICOM}, in multipart/related.")
    return ranges


def _file_range(ranges: list[MediaRange], stored: str) -> MediaRange:
    """How files are wanted; they are given as they were received, so a wish to have them transcoded is 406."""
    for wanted in ranges:
        if wanted.transfer_syntax in ("", "*", stored):
            return MediaRange(DICOM if wanted.type == DICOM else "", wanted.multipart, wanted.transfer_syntax)
    raise HTTPException(406, f"The files are stored as {stored} and are not transcoded; ask for transfer-syntax=*.")


def _file_type(instance: InstanceDocument) -> str:
    return f"{DICOM}; transfer-syntax={instance.transfer_syntax_uid}"


def _tag_of(header: bytes) -> str:
    return f'"{hashlib.sha256(header).hexdigest()[:32]}"'


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


async def _continued(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk
