"""Reads an original again, whatever its form: what it says, and the documents in it."""

from typing import Literal

from imaging_common.reports.fhir import read_diagnostic_report
from imaging_common.reports.hl7v2 import read_message
from imaging_common.reports.model import ParsedReport
from imaging_common.reports.oru import read_reports


def read_original(kind: Literal["hl7-oru", "fhir-diagnostic-report"], data: bytes) -> list[ParsedReport]:
    """The reports in these bytes, with their attachments. Blocking.

    Raises
    ------
    UnreadableMessage
        They cannot be read.
    """
    if kind == "hl7-oru":
        return read_reports(read_message(data))
    return [read_diagnostic_report(data)]
