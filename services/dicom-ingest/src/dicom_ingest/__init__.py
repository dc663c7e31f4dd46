"""dicom-ingest service of the regional imaging cloud."""
