"""The port to an object store, and what may go wrong behind it.

RetryableError
└── StoreUnavailable     the store does not answer in time, or refuses
    └── StoreFull        it has no room left
RejectedError
├── ObjectNotFound       there is no such object
└── ObjectDamaged        the object is shorter than what is asked of it
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from imaging_common.errors import RejectedError, RetryableError


class StoreUnavailable(RetryableError):
    """The object store does not answer or refuses; nothing is known of a write."""


class StoreFull(StoreUnavailable):
    """The object store has no room left; nothing was written."""


class ObjectNotFound(RejectedError):
    """There is no such object."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"no object {key} in {bucket}")


class ObjectDamaged(RejectedError):
    """The object is shorter than what is asked of it."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"the object {key} in {bucket} is shorter than it should be")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a listing tells."""

    key: str
    size: int
    modified: datetime


class ObjectStore(Protocol):
    """Immutable objects in buckets. All methods raise `StoreUnavailable` when the store does not answer in time."""

    async def put(self, bucket: str, key: str, data: bytes | Path) -> None:
        """Write an object whole; durable on return. The same key again replaces it. A file is streamed."""
        ...

    async def get(self, bucket: str, key: str) -> bytes:
        """The whole object; `ObjectNotFound` without it."""
        ...

    async def get_range(self, bucket: str, key: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; `ObjectNotFound` without the object, `ObjectDamaged` if it ends before."""
        ...

    def stream(self, bucket: str, key: str, offset: int, length: int, chunk: int) -> AsyncIterator[bytes]:
        """`length` bytes from `offset` in pieces of at most `chunk` bytes; errors as `get_range`."""
        ...

    def list(self, bucket: str, prefix: str) -> AsyncIterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, in order of keys, page by page."""
        ...

    async def stat(self, bucket: str, key: str) -> ObjectInfo:
        """What a listing tells of one object; `ObjectNotFound` without it."""
        ...

    async def exists(self, bucket: str, key: str) -> bool:
        """Whether the object is there."""
        ...

    async def delete(self, bucket: str, key: str) -> None:
        """Remove the object; one that is gone already is no error."""
        ...
