"""The HTTP side that every service has: health, metrics, traces, errors as RFC 9457 problems."""

from imaging_common.http.app import Check, create_app
from imaging_common.http.bearer import bearer_claims
from imaging_common.http.problems import Problem
from imaging_common.http.rules import Access, access
from imaging_common.http.serve import serve

__all__ = ["Access", "Check", "Problem", "access", "bearer_claims", "create_app", "serve"]
