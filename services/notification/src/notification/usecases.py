"""Tell the EHRs, and tell people."""

from collections.abc import Sequence

from imaging_common.events import ConsultEvent, Envelope, Event
from imaging_common.messaging import EventPublisher
from notification.model import Organisation, concerns, notices
from notification.ports import NoticeBook


async def forward_to_ehrs(
    organisations: Sequence[Organisation], publisher: EventPublisher, event: Event, envelope: Envelope
) -> None:
    """Pass a public event on, unchanged, to every organisation it concerns.

    It keeps its id, so that a repetition is seen as one, and its key, so that its order is kept: the handler returns
    only when Kafka has it, and the next event of the key is handled after that.
    """
    for organisation in organisations:
        if concerns(organisation, event):
            await publisher.publish(f"ehr-{organisation.id}-events", event, envelope.key, event_id=envelope.id)


async def raise_notices(book: NoticeBook, event: ConsultEvent, envelope: Envelope) -> None:
    """Raise each notice the event gives rise to, once."""
    for notice in notices(event, envelope.id):
        await book.raise_once(notice)
