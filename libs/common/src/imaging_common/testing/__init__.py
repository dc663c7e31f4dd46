"""Helpers for tests of all services; not imported by any service."""
