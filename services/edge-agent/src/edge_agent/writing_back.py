"""The part of the composition root that writes reports of consults back into the hospital's PACS."""

from collections.abc import Callable
from pathlib import Path

from edge_agent.adapters.centre_client import CentreIdentity
from edge_agent.adapters.centre_objects import RegionObjects
from edge_agent.adapters.database import Database
from edge_agent.adapters.pacs_slots import PacsSlots
from edge_agent.adapters.pacs_store import DimseStore
from edge_agent.adapters.token import AccessToken
from edge_agent.adapters.write_back_journal import WriteBackJournal
from edge_agent.ports import CentreObjects
from edge_agent.services.region import RegionDicomweb, ThreadedToken
from edge_agent.settings import Settings
from edge_agent.usecases.write_back import ReportWriteBack

WAIT_SECONDS = 60.0
"""How long the centre may take for the next byte: its objects lie there, nothing is fetched from elsewhere."""


def build_write_back(
    settings: Settings,
    database: Database,
    token: AccessToken | None,
    slots: PacsSlots | None,
    on_event: Callable[[], None],
    centre: CentreObjects | None = None,
) -> ReportWriteBack:
    """What takes the commands; without a target it answers that there is none.

    Parameters
    ----------
    slots
        The PACS's; None: the hospital has none.
    """
    log = WriteBackJournal(database, settings.hospital)
    if not settings.write_back_target[0]:
        return ReportWriteBack(log, None, None, on_event)
    if centre is None and settings.gateway_url:
        centre = _centre(settings, token)
    target = DimseStore(settings, None if settings.write_back_ae_title else slots)
    return ReportWriteBack(log, centre, target, on_event)


def _centre(settings: Settings, token: AccessToken | None) -> CentreObjects:
    folder = _emptied(settings.spool_dir / "write-back")
    bearer = ThreadedToken(token) if token else None
    return RegionObjects(
        RegionDicomweb(settings.gateway_url, bearer, folder, WAIT_SECONDS, CentreIdentity.of(settings))
    )


def _emptied(folder: Path) -> Path:
    """The folder without what a killed agent left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder
