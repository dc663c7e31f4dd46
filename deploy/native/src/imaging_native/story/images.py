"""The images in the story: sent by `dcmsend`, found, viewed from staging and archive, given back byte for byte."""

import asyncio
import hashlib
import shutil
from pathlib import Path
from typing import Any

import httpx
import pydicom

from imaging_native import ct
from imaging_native.asking import DEADLINE_SECONDS, parts, until

SEED = 20261124
"""Of the CT series: the same every time, but where a story may have been played before."""


def sample_files() -> list[Path]:
    """The committed list of pydicom's samples that the story sends."""
    root = Path(pydicom.__file__).parent / "data"
    lines = Path(__file__).parent.with_name("samples.txt").read_text().splitlines()
    return [root / line for line in lines if line and not line.startswith("#")]


class ImageScene:
    """Sends a CT series and the samples to the community hospital's edge agent and follows them."""

    def __init__(self, state: dict[str, Any], work: Path, slices: int) -> None:
        self._edge = state["edges"]["community"]
        self._work = work
        self._slices = slices
        self._seed = state.get("seed", SEED)
        self._web = httpx.AsyncClient(base_url=f"{state['portal']}/dicomweb", timeout=30)
        self._agent = httpx.AsyncClient(base_url=self._edge["http"], timeout=10)
        self._journal: dict[str, str] = {}
        self._studies: set[str] = set()
        self.ct: ct.Series

    def use_session(self, cookies: dict[str, str]) -> None:
        """Ask DICOMweb as the person whose browser session this is."""
        self._web.cookies.update(cookies)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._web.aclose()
        await self._agent.aclose()

    async def write(self) -> str:
        """Make the CT series, and look the samples up."""
        self.ct = await asyncio.to_thread(ct.write_series, self._work / "ct", slices=self._slices, seed=self._seed)
        headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in sample_files()]
        self._studies = {str(header.StudyInstanceUID) for header in headers} | {self.ct.study_uid}
        return f"{self._slices} CT slices of 526 KB, {len(headers)} samples"

    async def send(self) -> str:
        """Send all with DCMTK's `dcmsend`, the samples one a call; count them in the edge agent's journal."""
        for path in sample_files():
            await self.dcmsend([path])
        await self.dcmsend(self.ct.files)
        expected = self._slices + len(sample_files())
        for study_uid in self._studies:
            answer = await self._agent.get("/journal", params={"study": study_uid})
            answer.raise_for_status()
            self._journal |= {row["sop_instance_uid"]: row["sha256"] for row in answer.json()}
        if len(self._journal) != expected:
            raise AssertionError(f"{expected} instances sent, {len(self._journal)} in the edge agent's journal")
        return f"{expected} instances acknowledged and in the journal"

    async def dcmsend(self, files: tuple[Path, ...] | list[Path]) -> None:
        """Send files over one association; raises when `dcmsend` says that it failed."""
        command = shutil.which("dcmsend") or "dcmsend"
        process = await asyncio.create_subprocess_exec(
            command,
            *("-aet", "MODALITY", "-aec", self._edge["ae_title"], "--decompress-never"),
            *(self._edge["host"], str(self._edge["dimse_port"])),
            *map(str, files),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
        if process.returncode:
            raise AssertionError(f"dcmsend exited with {process.returncode}: {output.decode(errors='replace')[-400:]}")

    async def find(self) -> str:
        """Wait until QIDO-RS lists every study with all its instances, and find the CT by name in Han and in pinyin."""

        async def all_there() -> bool:
            rows = await self._qido("/studies", limit="200")
            counts = {row["0020000D"]["Value"][0]: row["00201208"]["Value"][0] for row in rows}
            return self._studies <= counts.keys() and sum(counts[uid] for uid in self._studies) == len(self._journal)

        await until(all_there, "all studies in QIDO-RS with all instances")
        for name in ("王小东", "wang xiaodong"):
            rows = await self._qido("/studies", PatientName=name, fuzzymatching="true")
            found = {row["0020000D"]["Value"][0] for row in rows}
            if self.ct.study_uid not in found or len(found) == len(self._studies):
                raise AssertionError(f"a search for {name} found {len(found)} studies, the CT not among them or all")
        return f"{len(self._studies)} studies; the CT also by 王小东 and wang xiaodong"

    async def _qido(self, path: str, **params: str) -> list[dict[str, Any]]:
        answer = await self._web.get(path, params=params, headers={"Accept": "application/dicom+json"})
        if answer.status_code == 204:
            return []
        answer.raise_for_status()
        rows: list[dict[str, Any]] = answer.json()
        return rows

    async def frames_from_staging(self) -> str:
        """Fetch the CT's frames while it lies in staging; they are the pixels that were sent."""
        return await self._frames("staging", only_first=True)

    async def frames_from_archive(self) -> str:
        """Fetch frames from the archive pack, decoded: they are the pixels that were sent."""

        async def in_archive() -> bool:
            answers = [await self._frame(path) for path in self.ct.files[::10]]
            return all(answer.headers.get("imaging-stored-in") == "archive" for answer in answers)

        await until(in_archive, "frames from the archive pack")
        return await self._frames("archive", only_first=False)

    async def _frame(self, path: Path) -> httpx.Response:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        url = f"/studies/{self.ct.study_uid}/series/{self.ct.series_uid}/instances/{header.SOPInstanceUID}/frames/1"
        accept = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
        answer = await self._web.get(url, headers={"Accept": accept})
        answer.raise_for_status()
        return answer

    async def _frames(self, stored_in: str, *, only_first: bool) -> str:
        files = self.ct.files[:1] if only_first else self.ct.files[::10]
        for path in files:
            answer = await self._frame(path)
            (frame,) = [body async for body in parts(answer)]
            if frame != pydicom.dcmread(path).PixelData:
                raise AssertionError(f"{path.name}: the frame is not the pixels that were sent")
            if answer.headers.get("imaging-stored-in") != stored_in:
                raise AssertionError(
                    f"{path.name}: served from {answer.headers.get('imaging-stored-in')}, not {stored_in}"
                )
        return f"{len(files)} frames compared with what was sent"

    async def compare_files(self) -> str:
        """Retrieve every study as files: each has the SHA-256 that the edge agent computed on receipt."""

        async def archived() -> bool:
            return all([await self._all_archived(study) for study in self._studies])

        await until(archived, "every study in the archive")
        given: dict[str, str] = {}
        for study_uid in self._studies:
            accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
            answer = await self._web.get(f"/studies/{study_uid}", headers={"Accept": accept})
            answer.raise_for_status()
            async for body in parts(answer):
                sop = str(pydicom.dcmread(pydicom.filebase.DicomBytesIO(body), stop_before_pixels=True).SOPInstanceUID)
                given[sop] = hashlib.sha256(body).hexdigest()
        if given != self._journal:
            wrong = [uid for uid, digest in self._journal.items() if given.get(uid) != digest]
            raise AssertionError(f"{len(wrong)} files came back changed or not at all, e.g. {wrong[:2]}")
        return f"{len(given)} files with the SHA-256 they came with"

    async def _all_archived(self, study_uid: str) -> bool:
        answer = await self._agent.get("/journal", params={"study": study_uid})
        return all(row["state"] == "stored" for row in answer.json())
