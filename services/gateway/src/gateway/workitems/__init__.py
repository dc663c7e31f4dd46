"""Cases as other systems list them: UPS-RS work items; FHIR's Task and ServiceRequest are made of the same."""
