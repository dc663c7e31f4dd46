"""Events about the hospitals' own reports (not the consults')."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from imaging_common.events.base import Event
from imaging_common.ids import HospitalId, Sha256


class ReportReceived(Event):
    """A hospital's report lies in the archive, byte for byte; what it says stands beside it, not in this event."""

    hospital: HospitalId = Field(description="The hospital whose credentials brought it.")
    report_key: str = Field(pattern=r"^[0-9a-f]{32}$", description="Digest of the hospital and its filler report id.")
    sha256: Sha256 = Field(description="Of the original bytes; a new version has another one.")
    manifest_key: str = Field(description="Key in the bucket `archive` of the report's facts (`ReportManifest`).")
    kind: Literal["hl7-oru", "fhir-diagnostic-report"] = Field(description="The form it came in.")
    received_at: datetime = Field(description="UTC.")


class ReportMatched(Event):
    """An operator says to which study a report of the review list belongs."""

    hospital: HospitalId = Field(description="The report's hospital.")
    report_key: str = Field(description="Digest of the hospital and its filler report id.")
    study_uid: str | None = Field(default=None, description="Study Instance UID at that hospital; None: to none.")
    revision: int = Field(ge=1, description="Counts the statements about this report.")
    user: str = Field(description="Who said so.")
