"""Which way a PACS gives its images is asked of it, and asked again when it refuses."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from edge_agent.adapters.pacs_retrieve.choice import ChosenRetriever
from edge_agent.adapters.pacs_retrieve.folder import RetrieveFolder
from edge_agent.errors import PacsRefused
from edge_agent.model import PacsInstance, RetrievedFile
from edge_agent.settings import Settings

WANTED = [PacsInstance("1.2", "1.2.3", "1.2.3.4")]


class Way:
    """A way of retrieving that the PACS offers, or no longer."""

    def __init__(self, name: str) -> None:
        self.name, self.offered = name, True

    async def accepted(self) -> bool:
        return self.offered

    async def fetch(
        self, wanted: Sequence[PacsInstance], *, whole_series: bool = False
    ) -> AsyncGenerator[RetrievedFile, None]:
        if not self.offered:
            raise PacsRefused(f"the PACS does not offer {self.name}")
        for one in wanted:
            yield RetrievedFile(Path(one.sop_instance_uid), one.study_uid, one.sop_instance_uid, 1)

    async def close(self) -> None: ...


async def test_c_move_is_taken_when_the_pacs_no_longer_offers_c_get(tmp_path: Path) -> None:
    settings = Settings(
        hospital="tcm", ae_title="TCM", spool_dir=tmp_path, ingest_url="http://ingest.test", pacs_ae_title="PACS"
    )
    retriever = ChosenRetriever(settings, RetrieveFolder(tmp_path / "retrieved", 1 << 20))
    get, move = Way("c-get"), Way("c-move")
    retriever._get, retriever._move, retriever._chosen = get, move, None  # type: ignore[assignment]
    assert len([file async for file in retriever.fetch(WANTED)]) == 1
    assert retriever.name == "c-get"
    get.offered = False
    with pytest.raises(PacsRefused):
        assert [file async for file in retriever.fetch(WANTED)]
    assert len([file async for file in retriever.fetch(WANTED)]) == 1
    assert retriever.name == "c-move"
