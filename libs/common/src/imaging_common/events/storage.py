"""What lies in the centre's object store (`storage-measured`): sums only, nothing of a study."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from imaging_common.events.base import Event
from imaging_common.ids import HospitalId

Tier = Literal["archive", "staging", "cache"]


class TierUsage(Event):
    """What one hospital has in one tier."""

    hospital: HospitalId = Field(description="Whose it is.")
    tier: Tier = Field(description="The bucket.")
    bytes: int = Field(
        ge=0, description="Bytes that it takes there; in the archive packs are compressed without losing a byte."
    )
    objects: int = Field(ge=0, description="Packs in the archive, batches in staging, studies in the cache tier.")


class StorageMeasured(Event):
    """The store keeper's sums per tier and hospital; the last one counts."""

    measured_at: datetime = Field(description="When it was summed up, UTC.")
    usage: list[TierUsage] = Field(description="Every (hospital, tier) that has something.")
    cache_quota_bytes: int = Field(ge=0, description="The cache tier's quota, for all hospitals together.")
