"""Which backups lie on a shelf; whether they are whole; and which may go."""

from collections.abc import Iterator

from pydantic import ValidationError
from pyrage import x25519

from imaging_operate.backup import objects
from imaging_operate.backup.model import MANIFEST, BackupManifest
from imaging_operate.backup.mongodb import Told
from imaging_operate.backup.sealing import Sealed, digest_of, unsealed
from imaging_operate.backup.shelf import Shelf, read_all
from imaging_operate.console import OperatingError

LAST = "last"


def finished(shelf: Shelf) -> list[str]:
    """The ids of finished backups, oldest first."""
    suffix = f"/{MANIFEST}"
    return sorted(n.removesuffix(suffix) for n in shelf.names("") if n.endswith(suffix) and n.count("/") == 1)


def load(shelf: Shelf, backup: str) -> BackupManifest:
    """A backup's manifest; `last` is the newest.

    Raises
    ------
    OperatingError
        There is no such finished backup, or its manifest cannot be read.
    """
    known = finished(shelf)
    if backup == LAST and known:
        backup = known[-1]
    if backup not in known:
        raise OperatingError(f"there is no finished backup {backup}; finished are: {', '.join(known) or 'none'}")
    try:
        return BackupManifest.model_validate_json(read_all(shelf, f"{backup}/{MANIFEST}"))
    except ValidationError as error:
        raise OperatingError(f"the manifest of backup {backup} cannot be read: {error.error_count()} errors") from error


def damaged(
    shelf: Shelf, manifest: BackupManifest, identities: list[x25519.Identity] | None, told: Told = lambda what, n: None
) -> Iterator[str]:
    """What of a backup is missing or not as it was written, one line each.

    Every file's digest is compared; with `identities` everything is also opened and its content compared.
    """
    for count, sealed in enumerate(_files(shelf, manifest), 1):
        told("files", count)
        if isinstance(sealed, str):
            yield sealed
        elif problem := _problem(shelf, sealed, identities):
            yield problem


def _files(shelf: Shelf, manifest: BackupManifest) -> Iterator[Sealed | str]:
    """The files of a backup, or what is to be said of one whose proof is not there."""
    yield from (one.file for one in manifest.collections)
    yield from (manifest.objects.file, manifest.kafka.metadata, *manifest.kafka.records.values())
    count = 0
    try:
        for name in objects.names(shelf, manifest.id):
            count += 1
            try:
                yield Sealed.model_validate_json(read_all(shelf, objects.proof_of(name)))
            except (FileNotFoundError, ValidationError):
                yield f"{objects.proof_of(name)} is missing or damaged: nothing proves the object beside it"
    except FileNotFoundError:
        yield f"{objects.names_file(manifest.id)} is missing"
    if count != sum(manifest.objects.count.values()):
        yield f"{objects.names_file(manifest.id)} lists {count} objects and not {sum(manifest.objects.count.values())}"


def _problem(shelf: Shelf, sealed: Sealed, identities: list[x25519.Identity] | None) -> str:
    try:
        found, size = digest_of(shelf, sealed.name)
    except FileNotFoundError:
        return f"{sealed.name} is missing"
    if size != sealed.size:
        return f"{sealed.name} has {size} bytes and not {sealed.size}"
    if found != sealed.sha256:
        return f"{sealed.name} is not what was written: its SHA-256 is another"
    if identities is not None:
        try:
            with unsealed(shelf, sealed, identities) as pieces:
                for _ in pieces:
                    pass
        except OperatingError as error:
            return str(error)
    return ""
