"""What all events share: the base model, the version that orders them, and the CloudEvents envelope."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class Event(BaseModel):
    """The data of one event. Frozen; unknown fields are ignored, so that an old reader survives a new writer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def type_name(cls) -> str:
        """The CloudEvents `type` of this event: the name of its class."""
        return cls.__name__


class Version(BaseModel):
    """Orders the states of one aggregate; never a clock. The epoch is raised when an index is rebuilt."""

    model_config = ConfigDict(frozen=True)

    epoch: int = Field(ge=0, description="Raised by one each time the store behind it is rebuilt.")
    n: int = Field(ge=0, description="Counts the states within one epoch.")

    def newer_than(self, other: "Version | None") -> bool:
        """Whether this version comes after `other` (anything comes after nothing)."""
        return other is None or (self.epoch, self.n) > (other.epoch, other.n)


class Envelope(BaseModel):
    """CloudEvents 1.0 context attributes of a received message, and where it was read."""

    model_config = ConfigDict(frozen=True)

    id: str
    type: str
    source: str
    time: datetime
    topic: str
    partition: int = 0
    key: str = ""
    traceparent: str | None = None

    @property
    def speaker(self) -> str:
        """The hospital that wrote to an `edge-events-<hospital>` topic: from the topic, never from a payload."""
        return self.topic.removeprefix("edge-events-")
