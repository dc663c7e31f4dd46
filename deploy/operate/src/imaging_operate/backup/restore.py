"""Puts a backup into a region whose services are stopped and whose servers are set up and empty."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from imaging_common.messaging.permissions import SERVICES
from imaging_operate import lag, servers
from imaging_operate.backup import kafka, mongodb, objects
from imaging_operate.backup.model import COPIED_BUCKETS, BackupManifest
from imaging_operate.backup.mongodb import Told
from imaging_operate.backup.sealing import read_identities
from imaging_operate.backup.shelf import Shelf
from imaging_operate.console import OperatingError
from imaging_operate.epochs import raise_case_epochs, raise_index_epoch, skip_consult_numbers, skip_feed_numbers
from imaging_operate.servers import Mongo
from imaging_operate.settings import RegionSettings

OWN_DATABASE, RESTORES = "operate", "restores"
"""Where a restore that is under way is noted, so that it can go on after an interruption."""


@dataclass(slots=True)
class Restored:
    """What was put back, and what cannot have been."""

    backup: str
    taken_at: datetime
    documents: int = 0
    objects: dict[str, int] = field(default_factory=dict)
    records: dict[str, int] = field(default_factory=dict)
    topics: list[str] = field(default_factory=list)
    read_again: dict[str, int] = field(default_factory=dict)
    """Group → records that it reads once more, where Kafka survived."""

    @property
    def gap(self) -> list[str]:
        """What the operator has to know, in sentences."""
        since = f"{self.taken_at:%Y-%m-%d %H:%M:%S} UTC"
        lines = [f"What changed after {since} is not in this backup."]
        if self.read_again:
            lines.append("Kafka survived: what it still keeps of that is read again, deletions among it.")
        else:
            lines.append(
                "Kafka is new: deletions, grants that were taken back and consults after that time must be done again."
            )
        lines.append("Start the services, then `region reconcile`: it lists what is missing and fetches it.")
        lines.append("Everybody signs in anew; an EHR reads its feed from the number after the last one it has.")
        if self.topics:
            lines.append(
                f"Topics that the set-up did not make: {', '.join(self.topics)}; give new packages to their hospitals."
            )
        return lines

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"gap": self.gap}


def restore(
    settings: RegionSettings,
    shelf: Shelf,
    manifest: BackupManifest,
    *,
    into_non_empty: bool = False,
    told: Told = lambda what, count: None,
) -> Restored:
    """Restore everything; interrupted, it goes on when called again.

    The epochs of the index and of every consult are raised: others may know later versions than those in the backup.
    Numbers that consults of today and events of the feeds may have got since are not given again.

    Raises
    ------
    OperatingError
        A service runs, the region is not empty, or the backup is damaged.
    """
    identities = read_identities(settings.backup_identity)
    done = Restored(manifest.id, manifest.started_at)
    _refuse_running(settings)
    with servers.mongo(settings) as client:
        if not into_non_empty:
            _refuse_occupied(settings, client, manifest)
        note = client[OWN_DATABASE][RESTORES]
        note.update_one({"_id": manifest.id}, {"$set": {"began_at": datetime.now(UTC), "done": False}}, upsert=True)
        known = kafka.load(shelf, manifest.kafka, identities)
        done.topics = kafka.restore_topics(settings, known)
        mongodb.drop_other(client, manifest.collections)
        for collection in manifest.collections:
            done.documents += mongodb.restore(client, shelf, collection, identities, told)
        done.objects = objects.restore(servers.minio(settings), shelf, manifest.objects, identities, told)
        done.records = kafka.restore_records(settings, shelf, manifest.kafka, identities, told)
        done.read_again = kafka.rewind(settings, known)
        raise_index_epoch(client)
        raise_case_epochs(client)
        skip_consult_numbers(client, datetime.now(UTC))
        skip_feed_numbers(client)
        note.update_one({"_id": manifest.id}, {"$set": {"done": True, "ended_at": datetime.now(UTC)}})
    return done


def _refuse_running(settings: RegionSettings) -> None:
    """A service that runs would write while its database is put back."""
    admin = servers.kafka(settings)
    ours = set(lag.groups(admin)) & set(SERVICES)
    running = sorted(name for name, (_, count) in lag.members(admin, ours).items() if count)
    if running:
        raise OperatingError(f"these services run, stop them before the restore: {', '.join(running)}")


def _refuse_occupied(settings: RegionSettings, client: Mongo, manifest: BackupManifest) -> None:
    began = client[OWN_DATABASE][RESTORES].find_one({"_id": manifest.id})
    if began is not None and not began["done"]:
        return
    found = mongodb.occupied(client)
    store = servers.minio(settings)
    found += [
        f"bucket {bucket}"
        for bucket in COPIED_BUCKETS
        if next(iter(store.list_objects(bucket_name=bucket, recursive=True)), None) is not None
    ]
    if found:
        raise OperatingError(
            f"the region is not empty ({', '.join(found[:8])}): restore into an empty one, or type --into-non-empty, "
            "which drops what the services' databases hold"
        )
