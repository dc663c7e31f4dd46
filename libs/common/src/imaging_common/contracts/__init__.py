"""The contracts in `schemas/`: written from models and `topics/*.yaml`, and checked for incompatible changes."""

from imaging_common.contracts.compatibility import incompatibilities
from imaging_common.contracts.schemas import render_all, schema_of
from imaging_common.contracts.topics import SERVICES, TopicContract, load_topics

__all__ = ["SERVICES", "TopicContract", "incompatibilities", "load_topics", "render_all", "schema_of"]
