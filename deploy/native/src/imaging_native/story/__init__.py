"""The story of the region: a study reaches the archive, the viewer and the EHR, and a consult comes back.

Played from outside, as its users do: `dcmsend`, DICOMweb, a plain Kafka consumer and two people at real browsers.
"""

from imaging_native.story.play import StoryFailed, play

__all__ = ["StoryFailed", "play"]
