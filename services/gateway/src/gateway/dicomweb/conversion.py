"""A frame in the form that was negotiated: as it lies, decoded, or encoded anew."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson
from pydicom import Dataset

from gateway.dicomweb import pixels
from gateway.dicomweb.decoder import Decoder
from gateway.dicomweb.files import read_file
from gateway.dicomweb.frames import FrameReader
from gateway.dicomweb.locations import Locations
from gateway.dicomweb.negotiation import EXPLICIT_BE, NATIVE, OCTETS, FrameForm
from imaging_common.index.model import InstanceDocument, ListedInstance
from imaging_common.index.read import StudyIndex
from imaging_common.objects.rebuild import decode_frame
from imaging_common.objects.store import ObjectStore

MAX_WHOLE_BYTES = 512 * 1024 * 1024


def stored_syntax(instance: InstanceDocument) -> str:
    """The transfer syntax of the frames' stored bytes."""
    return instance.location.frame_transfer_syntax_uid or instance.transfer_syntax_uid


class FrameSource:
    """Frames of instances, wherever their bytes lie by now."""

    def __init__(
        self, index: StudyIndex, store: ObjectStore, locations: Locations, frames: FrameReader, decoder: Decoder
    ) -> None:
        self._index = index
        self._store = store
        self._locations = locations
        self._frames = frames
        self._decoder = decoder

    async def header(self, instance: ListedInstance) -> dict[str, Any]:
        """The stored header."""
        found = await self._index.headers([instance.id])
        return dict(orjson.loads(found[instance.id])) if instance.id in found else {}

    async def file(self, instance: InstanceDocument) -> bytes:
        """The whole file.

        Raises
        ------
        CannotDecode
            It is too large to be held in memory.
        """
        if instance.location.original_length > MAX_WHOLE_BYTES:
            raise pixels.CannotDecode("the file is too large to be decoded as one")
        return await self._locations.read(instance, lambda current: read_file(self._store, current))

    async def dataset(self, instance: InstanceDocument) -> Dataset:
        """The whole file as dataset."""
        return await asyncio.to_thread(pixels.read_dataset, await self.file(instance))

    async def frame(self, instance: InstanceDocument, number: int, form: FrameForm) -> tuple[bytes, str]:
        """A frame (from 1) in its form, and the bucket it came from.

        Raises
        ------
        CannotDecode
            It cannot be given in this form.
        """
        return await self._locations.read(instance, lambda current: self._convert(current, number, form))

    async def array(self, instance: InstanceDocument, number: int, header: Mapping[str, Any]) -> pixels.Array:
        """A frame (from 1) decoded, of any instance with pixels."""

        async def read(current: InstanceDocument) -> pixels.Array:
            if not current.location.frames or stored_syntax(current) == EXPLICIT_BE:
                return await self._decoder.frame_of_file(await self.file(current), number - 1)
            data = await self._frames.stored_frame(current, number)
            own = current.location.encoding == "htj2k"
            return await self._decoder.frame(data, stored_syntax(current), header, own=own)

        return await self._locations.read(instance, read)

    async def unaligned(self, instance: InstanceDocument, numbers: Sequence[int]) -> AsyncIterator[bytes]:
        """Frames without bytes of their own in the file, as Explicit VR Little Endian pixels.

        Raises
        ------
        IndexError
            There is no such frame.
        """
        file = await self.file(instance)
        dataset = await asyncio.to_thread(pixels.read_dataset, file)
        count = pixels.frame_count(dataset)
        if max(numbers) > count:
            raise IndexError("there is no such frame")
        if instance.transfer_syntax_uid in NATIVE and dataset.get("BitsAllocated") == 1:
            for number in numbers:
                yield await asyncio.to_thread(pixels.bit_frame, dataset, number - 1)
            return
        for number in numbers:
            yield pixels.little_endian(await self._decoder.frame_of_file(file, number - 1))

    async def _convert(self, instance: InstanceDocument, number: int, form: FrameForm) -> tuple[bytes, str]:
        data, bucket = await self._frames.stored_frame(instance, number), instance.location.bucket
        syntax, own = stored_syntax(instance), instance.location.encoding == "htj2k"
        if form.media_type == OCTETS and own:
            data = await asyncio.to_thread(decode_frame, data, instance.location)
            syntax = instance.transfer_syntax_uid
        if syntax == form.transfer_syntax or (form.media_type == OCTETS and syntax in NATIVE - {EXPLICIT_BE}):
            return data, bucket
        header = await self.header(instance)
        if form.media_type == OCTETS and syntax == EXPLICIT_BE and pixels.bits_allocated(header) > 8:
            return pixels.swapped(data, header), bucket
        if syntax == EXPLICIT_BE:
            array = await self._decoder.frame_of_file(await self.file(instance), number - 1)
            return pixels.little_endian(array), bucket
        array = await self._decoder.frame(data, syntax, header, own=own)
        if form.media_type == OCTETS:
            return pixels.little_endian(array), bucket
        return await asyncio.to_thread(pixels.encode, array, form.media_type), bucket
