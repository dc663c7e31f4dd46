"""What faults, story, tests and benchmarks do with a hospital's own PACS: fill it, wait, open what lies there."""

import asyncio
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pydicom
from pydicom.filebase import DicomBytesIO

from imaging_native.asking import parts, until
from imaging_native.ct import Series

ANY_FILE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
ANY_FRAME = "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
JSON = "application/dicom+json"


async def fill_pacs(pacs: dict[str, Any], files: list[Path] | tuple[Path, ...]) -> None:
    """Send files to a PACS with DCMTK's `dcmsend`, as a modality would.

    On one association to `dcmqrscp`: of several at once it loses images (38 of 40 were listed, 36 kept).

    Raises
    ------
    RuntimeError
        `dcmsend` failed.
    """
    associations = 4 if pacs["dicomweb"] else 1
    shares = [list(files[i::associations]) for i in range(associations) if files[i::associations]]
    await asyncio.gather(*(_dcmsend(pacs, share) for share in shares))


async def _dcmsend(pacs: dict[str, Any], files: list[Path]) -> None:
    process = await asyncio.create_subprocess_exec(
        shutil.which("dcmsend") or "dcmsend",
        *("-aet", "MODALITY", "-aec", pacs["ae_title"], "--decompress-never", "--scan-directories"),
        *(pacs["host"], str(pacs["dimse_port"]), *map(str, files)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 600)
    if process.returncode:
        raise RuntimeError(f"dcmsend to a PACS exited with {process.returncode}: {output.decode()[-300:]}")


async def listed(client: httpx.AsyncClient, study_uid: str) -> dict[str, Any] | None:
    """The study's row in QIDO-RS, if it is there."""
    answer = await client.get("/dicomweb/studies", params={"StudyInstanceUID": study_uid}, headers={"Accept": JSON})
    if answer.status_code == 204:
        return None
    answer.raise_for_status()
    rows: list[dict[str, Any]] = answer.json()
    return rows[0] if rows else None


async def until_listed(client: httpx.AsyncClient, study_uid: str, instances: int) -> dict[str, Any]:
    """Wait until QIDO-RS lists the study with so many instances; its row."""

    async def there() -> dict[str, Any] | None:
        row = await listed(client, study_uid)
        return row if row is not None and row["00201208"]["Value"] == [instances] else None

    row: dict[str, Any] = await until(there, f"a study with {instances} instances in QIDO-RS")
    return row


def frame_url(series: Series, file: Path) -> str:
    """The address of the first frame of one of the series' files."""
    header = pydicom.dcmread(file, stop_before_pixels=True)
    root = f"/dicomweb/studies/{series.study_uid}/series/{series.series_uid}"
    return f"{root}/instances/{header.SOPInstanceUID}/frames/1"


async def compare_frame(client: httpx.AsyncClient, series: Series, file: Path) -> None:
    """Fetch one frame; it holds the pixels of the file.

    Raises
    ------
    AssertionError
        It does not.
    """
    answer = await client.get(frame_url(series, file), headers={"Accept": ANY_FRAME}, timeout=90)
    answer.raise_for_status()
    (frame,) = [body async for body in parts(answer)]
    if frame != pydicom.dcmread(file).PixelData:
        raise AssertionError(f"{file.name}: the frame is not the pixels in the PACS")


@dataclass(slots=True)
class Retrieved:
    """What a whole-study retrieve gave."""

    status: int
    warning: str
    seconds: float
    pixels: dict[str, bytes] = field(default_factory=dict)
    """SOP Instance UID → Pixel Data."""


async def retrieve_study(client: httpx.AsyncClient, study_uid: str) -> Retrieved:
    """Retrieve a study as files (PS3.18 §10.4); an error answer, or one that broke off (status 0), has no instances."""
    started = time.perf_counter()
    try:
        answer = await client.get(f"/dicomweb/studies/{study_uid}", headers={"Accept": ANY_FILE}, timeout=180)
    except httpx.RemoteProtocolError:
        return Retrieved(0, "", time.perf_counter() - started)
    result = Retrieved(answer.status_code, answer.headers.get("warning", ""), time.perf_counter() - started)
    if answer.status_code in (200, 206):
        async for body in parts(answer):
            dataset = await asyncio.to_thread(pydicom.dcmread, DicomBytesIO(body))
            result.pixels[str(dataset.SOPInstanceUID)] = dataset.PixelData
    return result
