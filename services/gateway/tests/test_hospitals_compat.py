"""An entry of the registry that a later release wrote is read during its rollout, and after a rollback."""

from gateway.adapters.stores import _entry
from gateway.model import HospitalEntry

NAMES = {"name_zh": "示例医院", "name_en": "Example Hospital", "level": "secondary", "tier": "central"}


def test_fields_of_a_later_release_are_passed_over_and_missing_ones_have_their_defaults() -> None:
    stored = {"_id": "secondary", "revision": 4, **NAMES, "beds": 300}
    assert _entry(stored) == HospitalEntry(hospital="secondary", revision=4, **NAMES)  # type: ignore[arg-type]
