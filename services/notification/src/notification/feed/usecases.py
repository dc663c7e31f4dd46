"""Take public statements and links in."""

import re

from imaging_common.events import Envelope, Event, PatientLinked, ResidentMerged
from imaging_common.ids import HOSPITAL_PATTERN
from notification.feed.model import Statement
from notification.feed.ports import FeedStore

EHR_SOURCE = "/ehr/"


async def tell_ehrs(feed: FeedStore, event: Event, envelope: Envelope) -> None:
    """Put a public event, unchanged, into the feed of every organisation it concerns.

    It keeps its id, so that a repetition is seen as one, its trace and its key. The next event of the key is handled
    after this returns, so that a feed holds them in their order.
    """
    await feed.take(Statement(event, envelope.id, envelope.key, envelope.traceparent))


async def note_link(feed: FeedStore, event: PatientLinked, envelope: Envelope) -> None:
    """Note whose EHR keeps this resident's record: the one that says so. An operator's link names none.

    The patient's own number at the hospital is not kept.
    """
    organisation = envelope.source.removeprefix(EHR_SOURCE)
    if event.source != "ehr" or organisation == envelope.source or not re.fullmatch(HOSPITAL_PATTERN, organisation):
        return
    await feed.link(event.resident_id, organisation)


async def note_merge(feed: FeedStore, event: ResidentMerged) -> None:
    """Who keeps the record that is no longer used keeps the one that stays."""
    await feed.merge(event.resident_id, event.into)
