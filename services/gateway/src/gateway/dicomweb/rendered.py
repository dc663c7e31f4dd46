"""Rendered frames and thumbnails (PS3.18 §10.4.1.1.2–3): window, viewport, PNG or JPEG; what is small is kept."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.dicomweb import pixels
from gateway.dicomweb.conversion import FrameSource
from imaging_common.index.model import InstanceDocument, ListedInstance

KEPT_BYTES = 32 * 1024 * 1024
KEPT_SIZE = 64 * 1024
PREVIEW_PIXELS = 192
"""Longest side of a picture that counts as a list's thumbnail in the audit record."""
SLOTS = 3
LOOKUP_TAGS = ("00281201", "00281202", "00281203", "00281221", "00281222", "00281223", "00283000", "00283010")


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture is wanted."""

    media_type: str = "image/jpeg"
    window: tuple[float, float, str] | None = None
    viewport: tuple[int, int, tuple[int, int, int, int] | None] | None = None
    quality: int = 90
    mark: str = ""
    """A watermark's text."""


def is_preview(look: Look) -> bool:
    """Whether it is a whole image made so small that it tells a study from another and no more."""
    return look.viewport is not None and look.viewport[2] is None and max(look.viewport[:2]) <= PREVIEW_PIXELS


class BadLook(ValueError):
    """A rendering parameter is malformed (400)."""


def parse_look(parameters: Mapping[str, str], media_type: str) -> Look:
    """`window=center,width,function`, `viewport=w,h[,sx,sy,sw,sh]`, `quality=1..100` (PS3.18 §8.3.5).

    Raises
    ------
    BadLook
        One of them is malformed or out of bounds.
    """
    try:
        window = viewport = None
        if text := parameters.get("window"):
            center, width, *function = text.split(",")
            window = (float(center), float(width), (function or ["linear"])[0].upper().replace("-", "_"))
            if window[2] not in ("LINEAR", "LINEAR_EXACT", "SIGMOID") or not window[1] > 0:
                raise BadLook("window is center,width,function with a width above 0")
        if text := parameters.get("viewport"):
            numbers = [int(part or 0) for part in text.split(",")]
            if len(numbers) not in (2, 6) or not all(0 < n <= pixels.MAX_RENDERED for n in numbers[:2]):
                raise BadLook(f"viewport is width,height[,x,y,width,height] of at most {pixels.MAX_RENDERED}")
            if any(n < 0 for n in numbers):
                raise BadLook("viewport regions that are flipped are not rendered")
            region = (numbers[2], numbers[3], numbers[4], numbers[5]) if len(numbers) == 6 else None
            viewport = (numbers[0], numbers[1], region)
        quality = int(parameters.get("quality", "90"))
    except BadLook:
        raise
    except ValueError as error:
        raise BadLook("window, viewport and quality are numbers apart by commas") from error
    if not 1 <= quality <= 100:
        raise BadLook("quality is 1 to 100")
    return Look(media_type, window, viewport, quality)


class Renderer:
    """Renders off the loop, a few at a time; keeps small pictures within a bound."""

    def __init__(self, frames: FrameSource) -> None:
        self._frames = frames
        self._kept: OrderedDict[tuple[str, str, int, Look], bytes] = OrderedDict()
        self._bytes = 0
        self._slots = asyncio.Semaphore(SLOTS)

    async def picture(
        self, instance: InstanceDocument, frame: int, look: Look, shown_as: ListedInstance | None = None
    ) -> bytes:
        """One frame (from 1) as a picture.

        Parameters
        ----------
        shown_as
            Whose header says how it is shown: that of the instance which `instance`'s pixels stand in for.

        Raises
        ------
        CannotDecode
            It has no pixels, or none that can be decoded.
        """
        shown_as = shown_as or instance
        name = (f"{shown_as.id} {instance.id}", instance.sha256, frame, look)
        if (kept := self._kept.get(name)) is not None:
            self._kept.move_to_end(name)
            return kept
        async with self._slots:
            made = await self._render(instance, frame, look, shown_as)
        if len(made) <= KEPT_SIZE and name not in self._kept:
            self._kept[name] = made
            self._bytes += len(made)
            while self._bytes > KEPT_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return made

    async def _render(self, instance: InstanceDocument, frame: int, look: Look, shown_as: ListedInstance) -> bytes:
        header = await self._frames.header(shown_as)
        array = await self._frames.array(instance, frame, header)
        if any("BulkDataURI" in _deep(header.get(tag)) for tag in LOOKUP_TAGS):
            if shown_as.id != instance.id:
                raise pixels.CannotDecode("its lookup tables lie where it cannot be had now")
            shown = await self._frames.dataset(instance)
        else:
            shown = pixels.header_dataset(header)

        def work() -> bytes:
            try:
                picture = pixels.fit(pixels.display(array, shown, look.window), look.viewport)
                if look.mark:
                    picture = pixels.stamp(picture, look.mark)
            except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
                raise pixels.CannotDecode(f"the frame cannot be shown: {type(error).__name__}") from error
            return pixels.save(picture, look.media_type, look.quality)

        return await asyncio.to_thread(work)


def _deep(element: Any) -> str:
    return "" if element is None else orjson.dumps(element).decode()
