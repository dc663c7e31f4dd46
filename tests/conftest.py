"""The real servers and the whole region, started once for all tests that ask for them."""

from collections.abc import AsyncIterator

import pytest

from imaging_native.region import Region


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[Region]:
    """Kafka, MongoDB and MinIO with the region's topics, ACLs, buckets and users; no service runs."""
    async with Region(services=[], keycloak=False) as region:
        yield region


@pytest.fixture(scope="session")
async def region() -> AsyncIterator[Region]:
    """A whole region with two hospitals and two copies of the gateway."""
    async with Region(gateways=2) as region:
        yield region
