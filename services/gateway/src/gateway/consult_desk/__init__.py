"""What the portal asks of the consult service beside a case: applications, boxes, and the operators' settings."""
