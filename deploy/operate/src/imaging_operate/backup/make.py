"""Makes a backup. The order matters: what readers have settled, then the databases, then the objects they point to."""

from datetime import UTC, datetime

from imaging_operate import servers
from imaging_operate.backup import kafka, mongodb, objects
from imaging_operate.backup.model import MANIFEST, BackupManifest
from imaging_operate.backup.mongodb import Told
from imaging_operate.backup.sealing import read_recipients
from imaging_operate.backup.shelf import Shelf, write_all
from imaging_operate.settings import RegionSettings
from imaging_operate.version import VERSION


def make(settings: RegionSettings, shelf: Shelf, told: Told = lambda what, count: None) -> BackupManifest:
    """A whole backup; objects that an earlier one saved, even an unfinished one, are not saved again.

    A message that was settled before the databases' snapshot is in it; one that was settled later is read again after
    a restore where Kafka survived. An object that a snapshot points to and that was removed meanwhile has a successor
    in the archive, which is listed afterwards.

    Raises
    ------
    OperatingError
        No recipient is named.
    """
    recipients = read_recipients(settings.backup_recipients)
    started = datetime.now(UTC)
    backup = f"{started:%Y%m%dT%H%M%SZ}"
    known = kafka.metadata(servers.kafka(settings))
    store = servers.minio(settings)
    anchors = objects.find_anchors(store)
    with servers.mongo(settings) as client, mongodb.snapshot(client) as session:
        collections = mongodb.dump(client, session, shelf, backup, recipients, told)
        at = mongodb.cluster_time(session)
    stored = objects.dump(store, shelf, backup, recipients, told, anchors)
    manifest = BackupManifest(
        id=backup,
        version=VERSION,
        started_at=started,
        finished_at=datetime.now(UTC),
        cluster_time=at,
        collections=collections,
        objects=stored,
        kafka=kafka.dump(settings, known, shelf, backup, recipients, told),
    )
    write_all(shelf, f"{backup}/{MANIFEST}", manifest.model_dump_json(indent=1).encode())
    return manifest
