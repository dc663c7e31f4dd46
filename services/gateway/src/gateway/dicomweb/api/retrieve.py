"""WADO-RS (PS3.18 §10.4): files and their metadata, of studies, series and instances."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from gateway.dicomweb.access import NOT_FOUND, OpenStudy
from gateway.dicomweb.files import stream_file
from gateway.dicomweb.metadata import KEPT_INSTANCES, PLACEHOLDER, gzipped
from gateway.dicomweb.multipart import Multipart
from gateway.dicomweb.negotiation import DICOM, DICOM_JSON, MediaRange, choose, parse_accept
from gateway.dicomweb.services import Services, root_of
from imaging_common.index.model import InstanceDocument, SeriesDocument
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

    async def files(request: Request, instances: AsyncIterator[InstanceDocument]) -> Response:
        ranges = _file_ranges(request)
        first = await anext(instances, None)
        if first is None:
            raise HTTPException(404, NOT_FOUND)
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
            async for instance in instances:
                yield answer.head(_file_type(instance))
                async for chunk in _file_chunks(instance):
                    yield chunk
                yield b"\r\n"
            yield answer.end

        return answer.stream(body(), headers)

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

    async def _instances(series: list[SeriesDocument]) -> AsyncIterator[InstanceDocument]:
        for one in series:
            for instance in (await services.locations.series(one.id, fresh=True)).by_uid.values():
                yield instance

    def bulk_base(request: Request, series: SeriesDocument) -> str:
        return f"{root_of(request)}/studies/{series.study_uid}/series/{series.series_uid}/bulkdata/"

    async def metadata(request: Request, opened: OpenStudy, series: list[SeriesDocument]) -> Response:
        wanted = choose(accepted(request), (DICOM_JSON, "application/json"))
        if wanted is None:
            raise HTTPException(406, f"Metadata is {DICOM_JSON}.")
        headers = {"ETag": opened.etag, "Cache-Control": "private, no-cache", "Vary": "Accept, Accept-Encoding, Cookie"}
        if opened.etag in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        zipped = "gzip" in request.headers.get("accept-encoding", "")
        if zipped:
            headers["Content-Encoding"] = "gzip"
        if len(series) == 1 and series[0].instance_count <= KEPT_INSTANCES:
            made = await services.metadata.series(series[0].id, opened.etag, bulk_base(request, series[0]))
            return Response(made.compressed if zipped else made.plain, media_type=wanted.type, headers=headers)
        chunks = services.metadata.stream([(one.id, bulk_base(request, one)) for one in series])
        return StreamingResponse(gzipped(chunks) if zipped else chunks, media_type=wanted.type, headers=headers)

    for root in ("", "/hospitals/{holder}"):

        @router.get(f"{root}/studies/{{study}}")
        async def retrieve_study(request: Request, study: str) -> Response:
            return await files(request, _instances(await series_of(await services.open(request, study))))

        @router.get(f"{root}/studies/{{study}}/series/{{series}}")
        async def retrieve_series(request: Request, study: str, series: str) -> Response:
            return await files(request, _instances(await series_of(await services.open(request, study), series)))

        @router.get(f"{root}/studies/{{study}}/series/{{series}}/instances/{{instance}}")
        async def retrieve_instance(request: Request, study: str, series: str, instance: str) -> Response:
            opened = await services.open(request, study, fresh=False)
            found = await services.locations.instance(opened.keys, series, instance)

            async def one() -> AsyncIterator[InstanceDocument]:
                yield found

            return await files(request, one())

        @router.get(f"{root}/studies/{{study}}/metadata")
        async def study_metadata(request: Request, study: str) -> Response:
            opened = await services.open(request, study)
            return await metadata(request, opened, await series_of(opened))

        @router.get(f"{root}/studies/{{study}}/series/{{series}}/metadata")
        async def series_metadata(request: Request, study: str, series: str) -> Response:
            opened = await services.open(request, study)
            return await metadata(request, opened, await series_of(opened, series))

        @router.get(f"{root}/studies/{{study}}/series/{{series}}/instances/{{instance}}/metadata")
        async def instance_metadata(request: Request, study: str, series: str, instance: str) -> Response:
            wanted = choose(accepted(request), (DICOM_JSON, "application/json"))
            if wanted is None:
                raise HTTPException(406, f"Metadata is {DICOM_JSON}.")
            opened = await services.open(request, study)
            found = await services.locations.instance(opened.keys, series, instance)
            header = (await services.index.headers([found.id]))[found.id]
            base = f"{root_of(request)}/studies/{study}/series/{series}/bulkdata/"
            body = b"[" + header.replace(PLACEHOLDER, base.encode()) + b"]"
            return Response(body, media_type=wanted.type, headers={"ETag": f'"{found.sha256[:32]}"'})

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


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


async def _continued(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk
