"""Tell the EHRs, and tell people."""

from collections.abc import Sequence
from datetime import UTC, datetime

from imaging_common.errors import PublishFailed
from imaging_common.events import AccessGranted, ConsultEvent, Envelope, Event
from imaging_common.messaging import EventPublisher
from notification.model import Organisation, access_notices, concerns, notices
from notification.ports import NoticeBook


async def forward_to_ehrs(
    organisations: Sequence[Organisation], publisher: EventPublisher, event: Event, envelope: Envelope
) -> None:
    """Pass a public event on, unchanged, to every organisation it concerns.

    It keeps its id, so that a repetition is seen as one, its trace, and its key, so that its order is kept: this
    returns only when Kafka has it, and the next event of the key is handled after that. An organisation whose topic
    does not take it does not keep it from the others.

    Raises
    ------
    PublishFailed
        Not every organisation has it: to be tried again, those who have it see the same id again.
    """
    failures: list[PublishFailed] = []
    for organisation in organisations:
        if not concerns(organisation, event):
            continue
        try:
            await publisher.publish(
                organisation.topic, event, envelope.key, traceparent=envelope.traceparent, event_id=envelope.id
            )
        except PublishFailed as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


async def raise_notices(book: NoticeBook, event: ConsultEvent, envelope: Envelope) -> None:
    """Raise each notice the event gives rise to, once."""
    for notice in notices(event, envelope.id, datetime.now(UTC)):
        await book.raise_once(notice)


async def tell_privacy_officers(book: NoticeBook, event: AccessGranted, envelope: Envelope) -> None:
    """Raise the notice of a broken glass, once."""
    for notice in access_notices(event, envelope.id, datetime.now(UTC)):
        await book.raise_once(notice)
