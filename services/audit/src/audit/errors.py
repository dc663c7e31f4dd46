"""The audit service raises only the shared errors (`imaging_common.errors`)."""
