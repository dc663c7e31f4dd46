"""Files that arrive while nobody waits for them any more leave nothing behind."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

import pydicom

from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.adapters.pacs_retrieve.landing import Landing
from edge_agent.model import PacsInstance, RetrievedFile
from imaging_common.dicom.sinks import PartTenSink, StoreRequest
from imaging_common.testing.waiting import until

SAMPLE = Path(pydicom.__file__).parent / "data/test_files/CT_small.dcm"


class Checking(RetrieveFolder):
    """Checks a file for as long as the test wants."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, 1 << 30)
        self.begun, self.may_end = threading.Event(), threading.Event()

    def take(self, path: Path, wanted: Mapping[str, PacsInstance]) -> RetrievedFile | None:
        self.begun.set()
        self.may_end.wait(30)
        return super().take(path, wanted)


async def test_a_file_that_lands_while_its_reader_leaves_is_removed(tmp_path: Path) -> None:
    folder, sent = Checking(tmp_path), pydicom.dcmread(SAMPLE)
    one = PacsInstance(sent.StudyInstanceUID, sent.SeriesInstanceUID, sent.SOPInstanceUID, sent.SOPClassUID)
    landing = Landing.of(folder, [one])
    request = StoreRequest(one.sop_class_uid, one.sop_instance_uid, sent.file_meta.TransferSyntaxUID, "PACS", "")

    def receive() -> None:
        sink = PartTenSink(folder.path, request, folder.reserve, folder.release)
        sink.write(SAMPLE.read_bytes()[int(sent.file_meta.FileMetaInformationGroupLength) + 144 :])
        landing.land(sink)

    files = landing.run(receive, None)  # type: ignore[arg-type]  # None: the loop's own threads
    reader = asyncio.ensure_future(anext(files))
    await until(folder.begun.is_set, what="a file that is being checked")
    reader.cancel()
    await asyncio.wait({reader})
    await files.aclose()
    folder.may_end.set()

    await until(lambda: not list(folder.path.iterdir()), what="no pixel left at the edge")
    assert folder.used == 0
