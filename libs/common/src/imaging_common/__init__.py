"""What every service shares: contracts, messaging, DICOM checks, storage formats, access rule, telemetry."""
