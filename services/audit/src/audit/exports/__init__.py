"""Records in the words of the standards: DICOM audit messages (PS3.15 A.5) and FHIR AuditEvent (R4B). Pure."""
