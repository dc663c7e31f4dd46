"""Where a region's servers run: `BACKENDS=processes` (as if unset) or `BACKENDS=containers`."""

import os
from dataclasses import dataclass

from imaging_native.keycloak import Keycloak
from imaging_native.process import StartFailed
from imaging_native.servers import Kafka, MinioServer, MongoDb

VARIABLE = "BACKENDS"


@dataclass(frozen=True, slots=True)
class Backends:
    """One class for each server."""

    kafka: type[Kafka] = Kafka
    mongodb: type[MongoDb] = MongoDb
    minio: type[MinioServer] = MinioServer
    keycloak: type[Keycloak] = Keycloak


def chosen_backends() -> Backends:
    """What the environment asks for.

    Raises
    ------
    StartFailed
        Containers are asked for and no engine answers, or it asks for something else.
    """
    chosen = os.environ.get(VARIABLE) or "processes"
    if chosen == "processes":
        return Backends()
    if chosen != "containers":
        raise StartFailed(f"{VARIABLE}={chosen}: say `processes` or `containers`")
    from imaging_native import container_process, containers

    container_process.check_engine()
    return Backends(
        containers.ContainerKafka,
        containers.ContainerMongoDb,
        containers.ContainerMinio,
        containers.ContainerKeycloak,
    )
