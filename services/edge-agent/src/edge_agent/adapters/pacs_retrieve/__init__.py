"""The ways in which a PACS gives its images: WADO-RS, C-GET, C-MOVE; each gives files as they land."""
