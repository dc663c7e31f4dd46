"""Removes old backups: a patient's study that was deleted must not lie in backups for ever."""

from dataclasses import dataclass

from imaging_operate.backup import objects
from imaging_operate.backup.model import MANIFEST
from imaging_operate.backup.shelf import Shelf
from imaging_operate.backup.shelves import finished


@dataclass(frozen=True, slots=True)
class Pruned:
    """What is gone."""

    backups: list[str]
    objects: int


def prune(shelf: Shelf, keep: int) -> Pruned:
    """Keep the newest `keep` finished backups and what they refer to; what began after the newest is left alone.

    A manifest goes first: what is left of a backup without it is no backup. Not to be run while a backup is made.
    """
    known = finished(shelf)
    kept = known[-keep:]
    everything = sorted(shelf.names(""))
    backups = {name.split("/")[0] for name in everything} - {"objects"}
    gone = sorted(one for one in backups if one not in kept and (not kept or one < kept[-1]))
    for backup in gone:
        mine = [name for name in everything if name.startswith(f"{backup}/")]
        for name in sorted(mine, key=lambda one: not one.endswith(f"/{MANIFEST}")):
            shelf.remove(name)
    wanted = {name for backup in sorted(backups - set(gone)) for name in _names(shelf, backup)}
    removed = 0
    for name in everything:
        if not name.startswith("objects/"):
            continue
        data = name.removesuffix(".json") + ".age" if name.endswith(".json") else name
        if data not in wanted and not _is_open(backups, kept):
            shelf.remove(name)
            removed += name == data
    return Pruned(gone, removed)


def _names(shelf: Shelf, backup: str) -> list[str]:
    try:
        return list(objects.names(shelf, backup))
    except FileNotFoundError:
        return []


def _is_open(backups: set[str], kept: list[str]) -> bool:
    """Whether a backup is unfinished and newer than all finished ones: it may be being made."""
    return any(not kept or one > kept[-1] for one in backups)
