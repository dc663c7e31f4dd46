"""Tell people; systems are told by `notification.feed`."""

from datetime import UTC, datetime

from imaging_common.events import AccessGranted, ConsultEvent, Envelope
from notification.model import access_notices, link_of, notices, settles
from notification.ports import NoticeBook


async def raise_notices(book: NoticeBook, event: ConsultEvent, envelope: Envelope) -> None:
    """Raise each notice the event gives rise to, once; what it settles need not be sent any more."""
    if kinds := settles(event):
        await book.settle(link_of(event), kinds, event.at)
    for notice in notices(event, envelope.id, datetime.now(UTC)):
        await book.raise_once(notice, cause=envelope.id, by=event.by, at=event.at)


async def tell_privacy_officers(book: NoticeBook, event: AccessGranted, envelope: Envelope) -> None:
    """Raise the notice of a broken glass, once."""
    for notice in access_notices(event, envelope.id, datetime.now(UTC)):
        await book.raise_once(notice, cause=envelope.id)
