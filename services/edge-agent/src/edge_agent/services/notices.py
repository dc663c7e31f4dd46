"""Instance availability notices (PS3.4 R): a PACS or modality says by N-CREATE that a study is there to be seen."""

from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from imaging_common.ids import is_uid
from imaging_common.telemetry import get_logger

_log = get_logger(__name__)
SUCCESS, MISSING_ATTRIBUTE, CANNOT_READ = 0x0000, 0x0120, 0x0110


class NoticeService:
    """Passes each notice's Study Instance UID on; a notice is a hint, nothing is believed of it."""

    def __init__(self, hint: Callable[[str], None]) -> None:
        self._hint = hint

    def notify(self, event: Any) -> tuple[int, Dataset | None]:
        """On N-CREATE Instance Availability Notification (PS3.4 R.3.2)."""
        try:
            study_uid = str(event.attribute_list.get("StudyInstanceUID", ""))
        except Exception as error:
            _log.warning("notice-not-read", error=type(error).__name__)
            return CANNOT_READ, None
        if not is_uid(study_uid):
            return MISSING_ATTRIBUTE, None
        self._hint(study_uid)
        answer = Dataset()
        if event.request.AffectedSOPInstanceUID is None:
            answer.AffectedSOPInstanceUID = generate_uid()
        return SUCCESS, answer
