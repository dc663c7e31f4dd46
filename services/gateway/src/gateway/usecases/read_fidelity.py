"""What a reader needs to know to trust the pixels: as received, recompressed without loss, or lossy at the source."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from imaging_common.index.model import StudyDocument
from imaging_common.index.read import SERIES, StudyIndex

Pixels = Literal["original", "lossless", "lossy", "away"]
LOSSY_SYNTAXES: Mapping[str, str] = {
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.51": "JPEG",
    "1.2.840.10008.1.2.4.81": "JPEG-LS",
    **{f"1.2.840.10008.1.2.4.{n}": "MPEG-2" for n in (100, 101)},
    **{f"1.2.840.10008.1.2.4.{n}": "MPEG-4" for n in range(102, 107)},
    **{f"1.2.840.10008.1.2.4.{n}": "HEVC" for n in (107, 108)},
}
"""Transfer syntaxes whose pixels have lost something when they arrive (PS3.5 A.4, PS3.6 Table A-1)."""
WITHOUT_PIXELS = frozenset({"SR", "PR", "KO", "DOC", "REG", "RTSTRUCT", "RTPLAN", "AU", "ECG"})
METHODS: Mapping[str, str] = {
    "ISO_10918_1": "JPEG",
    "ISO_14495_1": "JPEG-LS",
    "ISO_15444_1": "JPEG 2000",
    "ISO_15444_15": "HTJ2K",
    "ISO_13818_2": "MPEG-2",
    "ISO_14496_10": "MPEG-4",
    "ISO_23008_2": "HEVC",
}
"""Lossy Image Compression Method (0028,2114), PS3.3 C.7.6.1.1.5.1."""


@dataclass(frozen=True, slots=True)
class SeriesFidelity:
    """The pixels of one series at one holder."""

    series_uid: str
    number: int | None
    modality: str
    description: str
    count: int
    online: int
    """Instances whose bytes lie in the centre."""
    recompressed: int
    """Of those, in a pack whose rebuilt bytes were found to have the SHA-256 they came with."""
    lossy: bool
    """The sender says so (0028,2110), or the transfer syntax does."""
    method: str
    ratio: str
    """Lossy Image Compression Ratio (0028,2112), as the header gives it."""

    @property
    def pictures(self) -> bool:
        """Whether its instances have pixels."""
        return self.modality not in WITHOUT_PIXELS

    @property
    def pixels(self) -> Pixels:
        """In one word, the worst first."""
        if self.lossy:
            return "lossy"
        if not self.online:
            return "away"
        return "lossless" if self.recompressed else "original"


@dataclass(frozen=True, slots=True)
class StudyFidelity:
    """A study at one holder."""

    document: StudyDocument
    series: tuple[SeriesFidelity, ...]

    @property
    def pixels(self) -> Pixels:
        """In one word, the worst of its series; those that are not here do not count beside those that are."""
        found = {one.pixels for one in self.series if one.pictures}
        order: tuple[Pixels, ...] = ("lossy", "lossless", "original", "away")
        return next((kind for kind in order if kind in found), "away")

    @property
    def expected(self) -> int:
        """Instances it will have, as far as its holder said."""
        document = self.document
        return max(document.instance_count, document.announced_count - len(document.rejected))

    @property
    def complete(self) -> bool:
        """Whether all that belongs to it is listed, and its bytes are in the centre."""
        document = self.document
        return document.settled and document.online_count >= self.expected > 0 and not document.rejected


async def read_fidelity(index: StudyIndex, document: StudyDocument) -> StudyFidelity:
    """Read it from the index; nothing of pixels is touched."""
    series = [one for one in await index.series_of([document.id]) if one.instance_count]
    headers = await index.first_headers([one.id for one in series], SERIES)
    online: Counter[str] = Counter()
    recompressed: Counter[str] = Counter()
    lossy: dict[str, str] = {}
    for row in await index.encodings_of(document.id):
        key, location = row["series_key"], row.get("location")
        if location is not None:
            online[key] += 1
            recompressed[key] += location.get("encoding") == "htj2k"
        if row.get("transfer_syntax_uid") in LOSSY_SYNTAXES:
            lossy[key] = LOSSY_SYNTAXES[row["transfer_syntax_uid"]]
    found = []
    for one in series:
        header: Mapping[str, Any] = orjson.loads(headers[one.id]) if headers.get(one.id) else {}
        methods = [METHODS.get(str(value), str(value)) for value in _values(header, "00282114")]
        found.append(
            SeriesFidelity(
                series_uid=one.series_uid,
                number=one.series_number,
                modality=one.modality,
                description=one.description,
                count=one.instance_count,
                online=online[one.id],
                recompressed=recompressed[one.id],
                lossy=one.id in lossy or _values(header, "00282110")[:1] == ["01"],
                method=", ".join(methods) or lossy.get(one.id, ""),
                ratio=", ".join(f"{value:g}" for value in _numbers(header, "00282112")),
            )
        )
    return StudyFidelity(document, tuple(found))


def _values(header: Mapping[str, Any], tag: str) -> list[Any]:
    return list(header.get(tag, {}).get("Value") or [])


def _numbers(header: Mapping[str, Any], tag: str) -> list[float]:
    return [float(value) for value in _values(header, tag) if isinstance(value, int | float)]
