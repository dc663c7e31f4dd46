"""Uploads: the page, what is there already, batches that stream through to the ingest, and the studies at the end."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from gateway.api.forms import csrf_protected, fields
from gateway.api.pages import unseen
from gateway.api.portal import Portal, identity_of
from gateway.errors import IngestRefused
from gateway.usecases.upload_instances import MAX_ASKED, Refused, Uploaded, may_upload
from gateway.web.i18n import Translator
from gateway.web.patient_keys import PatientKeys
from gateway.web.places import places_of
from gateway.web.present import documents_of, row_view
from gateway.web.render import Renderer, language_of
from imaging_common.http import Access, access

TEXTS = (
    "upload.waiting", "upload.stored", "upload.duplicate", "upload.refused", "upload.failed",
    "upload.skipped", "upload.not-dicom", "upload.dicomdir", "upload.too-large", "upload.unreadable",
    "upload.zip.encrypted", "upload.zip.bomb", "upload.zip.bad", "upload.zip.many", "upload.zip.nested",
    "upload.reading", "upload.paused", "upload.again", "upload.done", "upload.done-some", "upload.progress",
    "upload.left.seconds", "upload.left.minutes", "upload.pause", "upload.resume", "upload.signed-out",
    "upload.no-room", "upload.away", "upload.more", "upload.forbidden", "upload.nothing",
)  # fmt: skip
"""What the page's script says."""


class Asked(BaseModel):
    """Which instances a browser is about to send."""

    instances: list[tuple[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=64)]]] = Field(
        max_length=MAX_ASKED
    )


def build_uploads(portal: Portal, renderer: Renderer) -> APIRouter:
    """`/portal/uploads` and below; for who may store for a hospital."""
    keys = PatientKeys(portal.settings.session_secret.get_secret_value())

    async def for_uploaders(request: Request) -> None:
        if not may_upload(identity_of(request).claims):
            await portal.uploads.denied(await portal.subject_of(request))
            raise HTTPException(403, "the account stores for no hospital")

    router = APIRouter(prefix="/portal/uploads", dependencies=[Depends(for_uploaders), Depends(csrf_protected)])

    @router.get("", openapi_extra=access(Access.UPLOAD))
    async def uploads(request: Request) -> Response:
        """The page."""
        t = Translator(language_of(request))
        return renderer.page(
            request,
            "uploads.html",
            texts=json.dumps({key.removeprefix("upload."): t(key) for key in TEXTS}, ensure_ascii=False),
            max_bytes=portal.settings.upload_batch_bytes - 4096,
            hospitals={entry.hospital: entry for entry in await portal.registry.all()},
            unseen=await unseen(portal, request),
        )

    @router.post("/known", openapi_extra=access(Access.UPLOAD))
    async def known(request: Request) -> JSONResponse:
        """Which of the instances need not be sent."""
        try:
            asked = Asked.model_validate_json(await request.body())
        except ValidationError as error:
            raise HTTPException(422, "the list of instances cannot be read") from error
        return JSONResponse({"known": await portal.uploads.known(identity_of(request).claims, asked.instances)})

    @router.post("/batch", openapi_extra=access(Access.UPLOAD))
    async def batch(request: Request) -> JSONResponse:
        """A multipart body of instances (PS3.18 §10.5.2) through to the ingest, and each one's fate."""
        content_type = request.headers.get("content-type", "")
        length = request.headers.get("content-length", "")
        if not content_type.startswith("multipart/related") or not length.isdigit():
            raise HTTPException(415, "a batch is multipart/related and says its length")
        try:
            done = await portal.uploads(await portal.subject_of(request), content_type, int(length), request.stream())
        except IngestRefused as error:
            status = error.status if error.status in (413, 507) else 502
            raise HTTPException(status, f"the ingest refused the batch ({error.status})") from error
        return JSONResponse(_fate(done, Translator(language_of(request))))

    @router.post("/studies", openapi_extra=access(Access.UPLOAD))
    async def studies(request: Request) -> Response:
        """The uploaded studies as the index has them by now (`study`, several); part of the page."""
        uids = list(dict.fromkeys(await fields(request, "study")))
        rows = await portal.uploads.studies(await portal.subject_of(request), uids)
        places = await places_of(portal.retriever, [document for row in rows for document in documents_of(row)])
        session = identity_of(request).session
        return renderer.page(
            request,
            "_uploaded.html",
            rows=[row_view(row, places) for row in rows],
            missing=len(uids) > len(rows),
            patient_key=lambda study: keys.of_study(session, study) if session else "",
        )

    return router


def _fate(done: Uploaded, t: Translator) -> dict[str, Any]:
    return {
        "stored": dict(done.stored),
        "refused": [{"sop": one.sop_instance_uid, "text": _words(one, t)} for one in done.refused],
    }


def _words(refused: Refused, t: Translator) -> str:
    """Why, in the reader's language; the ingest's own comment where the reason is not known here."""
    text = t.word("upload.reason", refused.reason)
    return text if text != refused.reason else t("upload.reason.other", comment=refused.comment or refused.reason)
