"""A certificate authority for the tests' edge agents."""

import pytest

from imaging_operate.certificates import RegionCa


@pytest.fixture(scope="session")
def region_ca(tmp_path_factory: pytest.TempPathFactory) -> RegionCa:
    """Issues certificates."""
    return RegionCa(tmp_path_factory.mktemp("pki"))
