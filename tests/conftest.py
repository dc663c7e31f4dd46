"""The real servers and the whole region, started once for all tests that ask for them."""

from collections.abc import AsyncIterator, Iterator

import pytest

from imaging_native.otlp import OtlpReceiver
from imaging_native.region import Region


@pytest.fixture(scope="session")
def otlp() -> Iterator[OtlpReceiver]:
    """An OTLP receiver that keeps the region's spans."""
    receiver = OtlpReceiver()
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[Region]:
    """Kafka, MongoDB and MinIO with the region's topics, ACLs, buckets and users; no service runs."""
    async with Region(services=[], keycloak=False) as region:
        yield region


@pytest.fixture(scope="session")
async def region(otlp: OtlpReceiver) -> AsyncIterator[Region]:
    """A whole region with four hospitals and two copies of the gateway, whose spans go to `otlp`."""
    async with Region(gateways=2, otlp_endpoint=otlp.endpoint) as region:
        yield region
