"""OHIF's published build at the root of the site, with our configuration; an unknown path is one of its pages."""

import json

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from gateway.api.portal import Portal
from gateway.api.roles import for_image_roles
from gateway.usecases.open_viewer import open_viewer
from gateway.web.files import FileTree
from imaging_common.http import Access, access

CONFIG = {
    "name": "portal",
    "routerBasename": "/",
    "extensions": [],
    "modes": [],
    "showStudyList": False,
    "maxNumberOfWebWorkers": 3,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": False,
    "showLoadingIndicator": True,
    "strictZSpacingForVolumeViewport": True,
    "groupEnabledModesFirst": True,
    "investigationalUseDialog": {"option": "never"},
    "maxNumRequests": {"interaction": 100, "thumbnail": 5, "prefetch": 25},
    "customizationService": [{"ohif.tours": {"$set": []}}],
    "defaultDataSourceName": "region",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "region",
            "configuration": {
                "friendlyName": "Regional imaging cloud",
                "name": "region",
                "qidoRoot": "/dicomweb",
                "wadoRoot": "/dicomweb",
                "wadoUriRoot": "/dicomweb",
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "omitQuotationForMultipartRequest": True,
                "qidoSupportsIncludeField": False,
                "supportsReject": False,
                "dicomUploadEnabled": False,
                "supportsFuzzyMatching": False,
                "supportsWildcard": True,
                "enableStudyLazyLoad": True,
                "bulkDataURI": {"enabled": True},
            },
        }
    ],
}
"""The data source is pinned: no address from a query is ever asked."""
APP_CONFIG = f"window.config = {json.dumps(CONFIG)};\n"
NEVER_SERVED = frozenset({"app-config.js", "_headers", "_redirects", "serve.json", "silent-refresh.html", "sw.js"})
OWN_STYLE, OWN_SCRIPTS = "viewer.css", ("watermark.js", "viewer.js", "viewer-panels.js", "viewer-case.js")
WINDOWS = ("launch", "launches", "share", "smart", "IHEInvokeImageDisplay")
OURS = (*WINDOWS, "portal", "auth", "dicomweb", "health", "metrics", "ehr", "fhir", "verify")

STORAGE_SCRIPT = "storage.js"
"""Runs before OHIF does: in a frame without storage OHIF would not start."""


def own_elements(static: FileTree) -> bytes:
    """What is put into the head of OHIF's page: our bar and the watermark, from our own origin."""
    style, *scripts = (f"/portal/static/{static.fingerprint(name)}/{name}" for name in (OWN_STYLE, *OWN_SCRIPTS))
    tags = "".join(f'<script defer src="{script}"></script>' for script in scripts)
    storage = f"/portal/static/{static.fingerprint(STORAGE_SCRIPT)}/{STORAGE_SCRIPT}"
    return f'<script src="{storage}"></script><link rel="stylesheet" href="{style}">{tags}'.encode()


def build_viewer(portal: Portal) -> APIRouter:
    """The last routes: whatever no other route took."""
    router = APIRouter(dependencies=[Depends(for_image_roles)])
    ours = own_elements(portal.static)

    @router.get("/app-config.js", openapi_extra=access(Access.VIEWER))
    async def app_config() -> Response:
        """OHIF's configuration, in place of the shipped one, which points at a public server."""
        return Response(APP_CONFIG, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @router.get("/{path:path}", openapi_extra=access(Access.VIEWER))
    async def ohif(request: Request, path: str) -> Response:
        """A file of the build, else its page; opening `/viewer` says which studies are in use."""
        files = portal.viewer
        if files is None or path.split("/")[0] in OURS:
            raise HTTPException(404)
        if path in files and path not in NEVER_SERVED and path != "index.html":
            return await files.respond(path, request.headers)
        if "." in path.rsplit("/", 1)[-1] and path != "index.html":
            raise HTTPException(404)
        if path.split("/")[0] == "viewer":
            uids = [uid for value in request.query_params.getlist("StudyInstanceUIDs") for uid in value.split(",")]
            opened = await open_viewer(portal.index, portal.publisher, await portal.subject_of(request), uids)
            portal.prefetch.later(portal.prefetch.opened(opened))
        page = (await files.body("index.html", "")).data.replace(b"</head>", ours + b"</head>", 1)
        return Response(page, media_type="text/html", headers={"Cache-Control": "no-store"})

    return router
