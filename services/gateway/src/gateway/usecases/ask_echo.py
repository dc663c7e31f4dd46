"""An operator asks a hospital's edge agent whether its PACS answers."""

from datetime import timedelta
from uuid import uuid4

from gateway.operations.model import Echo
from gateway.operations.ports import EchoStore
from gateway.retrievals.edges import Clock, utc_now
from imaging_common.auth import Claims
from imaging_common.events import EchoRequested
from imaging_common.messaging import EventPublisher

WAIT_SECONDS = 15.0


async def ask_echo(
    echoes: EchoStore,
    publisher: EventPublisher,
    claims: Claims,
    hospital: str,
    clock: Clock = utc_now,
) -> Echo:
    """Ask, and keep that it was asked; one that still waits for its answer is not asked again.

    Raises
    ------
    PublishFailed
        Kafka does not take the question.
    """
    now = clock()
    known = await echoes.latest(hospital)
    if known is not None and known.state(now) == "waiting":
        return known
    echo = Echo(
        echo_id=uuid4().hex,
        hospital=hospital,
        requested_by=claims.user,
        requested_at=now,
        deadline=now + timedelta(seconds=WAIT_SECONDS),
    )
    await echoes.begin(echo)
    question = EchoRequested(echo_id=echo.echo_id, deadline=echo.deadline)
    await publisher.publish(f"edge-commands-{hospital}", question, "")
    return echo
