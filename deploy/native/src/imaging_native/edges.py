"""Speaks to the centre as a hospital's edge agent does, or as one that lies about token, certificate or AE title."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from imaging_common.http.peers import AE_HEADER
from imaging_common.tls import TlsFiles, client_context


async def edge_token(state: dict[str, Any], hospital: str) -> str:
    """The access token of a hospital's edge agent."""
    edge = state["edges"][hospital]
    async with httpx.AsyncClient(timeout=15) as client:
        answer = await client.post(
            f"{state['issuer']}/protocol/openid-connect/token",
            data={
                "grant_type": "client_credentials",
                "client_id": edge["client_id"],
                "client_secret": edge["client_secret"],
            },
        )
    answer.raise_for_status()
    return str(answer.json()["access_token"])


def edge_certificate(state: dict[str, Any], hospital: str) -> TlsFiles:
    """Where the certificate of a hospital's edge agent lies."""
    cert, key = state["pki"]["edges"][hospital]
    return TlsFiles(cert, key, state["pki"]["ca"])


async def edge_client(
    state: dict[str, Any],
    hospital: str,
    *,
    door: str = "dicom-ingest",
    token: str | None = None,
    certificate: TlsFiles | None = None,
    ae_title: str | None = None,
) -> httpx.AsyncClient:
    """A client of the ingest (or the `gateway`) that is the hospital's edge agent in all but what is given; the caller
    closes it."""
    context = await asyncio.to_thread(client_context, certificate or edge_certificate(state, hospital))
    return httpx.AsyncClient(
        base_url=state["doors"][door],
        verify=context,
        timeout=30,
        headers={
            "Authorization": f"Bearer {token if token is not None else await edge_token(state, hospital)}",
            AE_HEADER: ae_title if ae_title is not None else state["edges"][hospital]["ae_title"],
        },
    )


def store_request(*files: Path) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a STOW-RS request (PS3.18 §10.5)."""
    head = b"--xx\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + file.read_bytes() + b"\r\n" for file in files) + b"--xx--\r\n"
    return body, {"Content-Type": 'multipart/related; type="application/dicom"; boundary=xx'}
