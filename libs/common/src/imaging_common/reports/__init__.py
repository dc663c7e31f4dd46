"""Hospitals' reports and orders in the forms they come in (HL7 v2, FHIR R4): one reader for edge agent and ingest."""

from imaging_common.reports.errors import UnreadableMessage
from imaging_common.reports.model import Attachment, ParsedReport

__all__ = ["Attachment", "ParsedReport", "UnreadableMessage"]
