"""`DeadLetters` at Kafka, with the operators' own connection."""

from collections.abc import Awaitable, Callable, Collection

from aiokafka.errors import KafkaError

from imaging_common.errors import NotReady
from imaging_common.messaging.dead_letters import DeadLetterReader
from imaging_common.messaging.replay import replay, replay_some
from imaging_common.settings import ServiceSettings


class KafkaDeadLetters(DeadLetterReader):
    """Reads, and sends back; every call has a connection of its own."""

    def __init__(self, connection: ServiceSettings) -> None:
        super().__init__(connection)
        self._connection = connection

    async def replay_all(self, topic: str, skip: Collection[tuple[int, int]], told: Callable[[int], None]) -> int:
        """See `DeadLetters.replay_all`; raises PublishFailed, NotReady."""
        try:
            return await replay(self._connection, topic, skip=skip, told=told)
        except (KafkaError, TimeoutError) as error:
            raise NotReady(f"{topic} cannot be replayed: {type(error).__name__}") from error

    async def replay_some(
        self,
        topic: str,
        places: Collection[tuple[int, int]],
        told: Callable[[tuple[int, int]], Awaitable[object]],
    ) -> int:
        """See `DeadLetters.replay_some`; raises PublishFailed, NotReady."""
        try:
            return await replay_some(self._connection, topic, places, told=told)
        except (KafkaError, TimeoutError) as error:
            raise NotReady(f"{topic} cannot be replayed: {type(error).__name__}") from error
