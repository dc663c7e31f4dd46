"""FHIR R4B (4.3.0) over the region's index, reports and consults, for EHRs and ordering systems: `/fhir/R4`."""
