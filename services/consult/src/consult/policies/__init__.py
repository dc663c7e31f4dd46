"""What each hospital wants of the cases it is asked: second reader, time limits, letterhead."""

from consult.policies.api import build_policies_api
from consult.policies.model import Letterhead, Policy
from consult.policies.usecases import HospitalPolicies

__all__ = ["HospitalPolicies", "Letterhead", "Policy", "build_policies_api"]
