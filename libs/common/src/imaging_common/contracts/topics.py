"""`schemas/topics/*.yaml` as models: who owns, writes and reads a topic, its key, events, partitions and retention."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

SERVICES = frozenset(
    {"edge-agent", "dicom-ingest", "object-writer", "indexer", "gateway", "consult", "notification", "audit"}
)
OUTSIDE_READERS = frozenset({"ehr"})
OUTSIDE_WRITERS = frozenset({"ehr"})
EVERYBODY = "*"


class TopicContract(BaseModel):
    """One topic, or one per hospital or organisation where its name has a `<part>`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9<>-]+$")
    description: str
    owner: str
    key: str
    producers: list[str] = Field(min_length=1)
    consumers: list[str] = Field(min_length=1)
    events: list[str] = Field(min_length=1)
    partitions: int = Field(ge=1)
    cleanup_policy: Literal["delete", "compact"]
    retention_ms: int
    personal_data: bool

    @property
    def writers(self) -> list[str]:
        """The producers by name, `*` resolved."""
        return sorted(SERVICES) if self.producers == [EVERYBODY] else self.producers


def load_topics(folder: Path) -> list[TopicContract]:
    """The topics of a folder, by name."""
    return [TopicContract.model_validate(yaml.safe_load(path.read_text())) for path in sorted(folder.glob("*.yaml"))]
