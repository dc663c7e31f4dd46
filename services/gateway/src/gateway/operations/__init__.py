"""The operators' pages: hospitals and their edge agents, onboarding, dead letters, storage."""
