"""A policy that a later release wrote is read during its rollout, and after a rollback."""

from consult.adapters.fake_consults import FakeHospitalBook
from consult.adapters.kept_settings import FakeKeptSettings
from consult.policies import HospitalPolicies, Policy
from consult.policies.model import Limits
from imaging_common.audit import AuditTrail
from imaging_common.messaging import FakePublisher

from .people import LEVELS


async def test_fields_of_a_later_release_are_passed_over() -> None:
    kept = FakeKeptSettings()
    limits = {"urgent": {"secondary": {"accept": 5, "handover": 7}}}
    kept.kept["policy-secondary"] = (3, {"limits": limits, "third_reader": "always"})
    policies = HospitalPolicies(kept, FakeHospitalBook(**LEVELS), AuditTrail("consult", FakePublisher()))
    assert await policies.of("secondary") == Policy(limits={"urgent": {"secondary": Limits(accept=5)}})
