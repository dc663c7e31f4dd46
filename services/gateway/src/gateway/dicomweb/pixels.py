"""Pixels: frames decoded to native bytes or arrays, encoded anew without loss, and rendered for a screen.

Pure and slow: called off the loop.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, ImageChops, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

from gateway.dicomweb.negotiation import JPEG, NATIVE

Array = npt.NDArray[Any]
JPEG_EXTENDED = f"{JPEG}51"
HTJ2K = frozenset({f"{JPEG}201", f"{JPEG}202", f"{JPEG}203"})
PIXEL_TAGS = (
    *("00280002", "00280004", "00280006", "00280010", "00280011"),
    *("00280100", "00280101", "00280102", "00280103"),
)
"""The attributes of the Image Pixel module (PS3.3 C.7.6.3) that say how pixels are coded."""
MAX_RENDERED = 4096
THUMBNAIL = 128


class CannotDecode(Exception):
    """There is no decoder for these pixels, or they are damaged."""


def header_dataset(header: Mapping[str, Any]) -> Dataset:
    """The image presentation group of a stored header as dataset (no personal data in it); bulk values are empty.

    Raises
    ------
    CannotDecode
        An attribute of the group is malformed.
    """
    shown = {tag: element for tag, element in header.items() if tag.startswith("0028")}
    try:
        return Dataset.from_json(shown, bulk_data_uri_handler=lambda *_: None)
    except Exception as error:
        raise CannotDecode(f"an attribute of the image is malformed: {type(error).__name__}") from error


def frame_array(data: bytes, syntax: str, header: Mapping[str, Any]) -> Array:
    """One stored frame as an array (rows, columns[, samples]); YBR comes out as RGB.

    Raises
    ------
    CannotDecode
        See there.
    """
    try:
        if syntax in HTJ2K:
            return np.asarray(imagecodecs.htj2k_decode(data))
        if syntax == JPEG_EXTENDED and _value(header, "00280101", 8) > 8:
            return np.asarray(imagecodecs.jpeg_decode(data))
        return np.asarray(pixel_array(frame_dataset(data, syntax, header)))
    except Exception as error:
        raise CannotDecode(f"a frame cannot be decoded: {type(error).__name__}") from error


def frame_dataset(data: bytes, syntax: str, header: Mapping[str, Any]) -> Dataset:
    """A dataset that holds one frame and what describes it."""
    dataset = header_dataset({tag: header[tag] for tag in PIXEL_TAGS if tag in header})
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = data + b"\0" * (len(data) % 2) if syntax in NATIVE else encapsulate([data])
    if syntax not in NATIVE:
        dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB" if dataset.get("BitsAllocated", 8) <= 8 or syntax not in NATIVE else "OW"
    return dataset


def little_endian(array: Array) -> bytes:
    """The array as native pixels, Explicit VR Little Endian, interleaved by pixel."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def encode(array: Array, media_type: str) -> bytes:
    """The array encoded without loss as `image/jphc`, `image/jls`, `image/jp2` or `image/jpeg` (SV1).

    Raises
    ------
    CannotDecode
        The encoder does not take such samples.
    """
    array = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="), copy=False)
    try:
        match media_type:
            case "image/jphc":
                return bytes(imagecodecs.htj2k_encode(array, reversible=True, tlm=True))
            case "image/jls":
                return bytes(imagecodecs.jpegls_encode(_unsigned(array)))
            case "image/jp2":
                return bytes(imagecodecs.jpeg2k_encode(array, level=0, codecformat="j2k", reversible=True))
            case _:
                return bytes(imagecodecs.ljpeg_encode(_unsigned(array)))
    except Exception as error:
        raise CannotDecode(f"a frame cannot be encoded: {type(error).__name__}") from error


def _unsigned(array: Array) -> Array:
    return array.view(array.dtype.str.replace("i", "u")) if array.dtype.kind == "i" else array


def frame_count(dataset: Dataset) -> int:
    """Number of Frames (0028,0008), 1 without it, 0 without pixels."""
    try:
        return int(dataset.get("NumberOfFrames", 1) or 1) if "PixelData" in dataset else 0
    except ValueError:
        return 1


def bit_frame(dataset: Dataset, index: int) -> bytes:
    """A native frame of single bits (PS3.5 §8.1.1), packed anew so that it starts on a byte."""
    size = int(dataset.Rows) * int(dataset.Columns)
    first = index * size
    packed = np.frombuffer(dataset.PixelData, dtype=np.uint8)[first // 8 : (first + size + 7) // 8]
    bits = np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + size]
    return np.packbits(bits, bitorder="little").tobytes()


def bulk_value(dataset: Dataset, path: str) -> bytes | None:
    """The bytes of the attribute at `TAG`, or of the first one with this tag inside sequences; None without."""
    tag = path.rsplit("/", 1)[-1]
    if len(tag) != 8 or not all(c in "0123456789abcdefABCDEF" for c in tag):
        return None
    number = int(tag, 16)
    if number in dataset:
        return _bytes_of(dataset[number])
    for element in dataset.iterall():
        if int(element.tag) == number and (value := _bytes_of(element)):
            return value
    return None


def _bytes_of(element: Any) -> bytes | None:
    value = element.value
    return value if isinstance(value, bytes) else str(value).encode() if value is not None else None


def read_dataset(file: bytes) -> Dataset:
    """A Part 10 file as dataset."""
    return pydicom.dcmread(io.BytesIO(file), force=True)


def display(array: Array, dataset: Dataset, window: tuple[float, float, str] | None) -> Image.Image:
    """An 8 bit picture: modality and VOI transformation applied (PS3.4 N.2), MONOCHROME1 inverted."""
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if photometric == "PALETTE COLOR":
        array = apply_color_lut(array, dataset)
        array = array >> 8 if array.dtype.itemsize > 1 else array
    if array.ndim == 3:
        shift = max(0, int(dataset.get("BitsStored", 8)) - 8)
        return Image.fromarray((array >> shift).astype(np.uint8)[..., :3], "RGB")
    values = apply_modality_lut(array, dataset)
    values = _windowed(np.asarray(values), dataset, window)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if window is not None or "WindowCenter" in dataset:
        low, high = 0.0, 255.0
    scaled = np.clip((values - low) * (255.0 / ((high - low) or 1.0)), 0, 255).astype(np.uint8)
    return Image.fromarray(255 - scaled if photometric == "MONOCHROME1" else scaled, "L")


def _windowed(values: Array, dataset: Dataset, window: tuple[float, float, str] | None) -> Array:
    """Through the window (PS3.3 C.11.2.1.2) to 0–255, or through the VOI LUT, or as they are."""
    if window is None and "VOILUTSequence" in dataset and dataset.VOILUTSequence[0].get("LUTData"):
        return np.asarray(apply_voi_lut(values, dataset))
    if window is None:
        center, width = dataset.get("WindowCenter"), dataset.get("WindowWidth")
        if center is None or width is None:
            return values
        first = [float(v[0] if isinstance(v, Sequence) or hasattr(v, "__len__") else v) for v in (center, width)]
        window = (first[0], first[1], str(dataset.get("VOILUTFunction", "LINEAR")))
    center, width, function = window
    work = values.astype(np.float64)
    if function == "SIGMOID":
        return np.asarray(255.0 / (1 + np.exp(-4 * (work - center) / width)))
    if function == "LINEAR_EXACT":
        return np.asarray(np.clip(((work - center) / width + 0.5) * 255, 0, 255))
    return np.asarray(np.clip(((work - (center - 0.5)) / max(width - 1, 1e-6) + 0.5) * 255, 0, 255))


def fit(picture: Image.Image, viewport: tuple[int, int, tuple[int, int, int, int] | None] | None) -> Image.Image:
    """Cut the source region and scale into the viewport, keeping proportions (PS3.18 §8.3.5.1.3)."""
    if viewport is None:
        return picture
    width, height, region = viewport
    if region is not None:
        x, y, w, h = region
        picture = picture.crop((x, y, x + (w or picture.width), y + (h or picture.height)))
    scale = min(width / picture.width, height / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.BILINEAR)


def stamp(picture: Image.Image, text: str) -> Image.Image:
    """A picture with `text` (ASCII; anything else becomes `?`) faintly and repeatedly across it."""
    size = max(12, min(picture.size) // 32)
    font = ImageFont.load_default(size)
    shown = text.encode("ascii", "replace").decode()
    side = picture.width + picture.height
    layer = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(layer)
    step = round(draw.textlength(shown, font)) + 4 * size
    for row, y in enumerate(range(0, side, 6 * size)):
        for x in range(-(row % 2) * step // 2, side, step):
            draw.text((x, y), shown, fill=46, font=font)
    left, top = (side - picture.width) // 2, (side - picture.height) // 2
    mask = layer.rotate(22).crop((left, top, left + picture.width, top + picture.height))
    white = Image.new(picture.mode, picture.size, 255 if picture.mode == "L" else (255, 255, 255))
    shadow = Image.new(picture.mode, picture.size, 0 if picture.mode == "L" else (0, 0, 0))
    darker = Image.composite(shadow, picture, ImageChops.offset(mask, 1, 1))
    return Image.composite(white, darker, mask)


def save(picture: Image.Image, media_type: str, quality: int = 90) -> bytes:
    """The picture as `image/jpeg` or `image/png`."""
    out = io.BytesIO()
    if media_type == "image/png":
        picture.save(out, "PNG", compress_level=1)
    else:
        picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def bits_allocated(header: Mapping[str, Any]) -> int:
    """Bits Allocated (0028,0100) of a stored header."""
    return int(_value(header, "00280100", 8))


def swapped(data: bytes, header: Mapping[str, Any]) -> bytes:
    """Big endian samples as little endian."""
    size = bits_allocated(header) // 8
    return np.frombuffer(data, dtype=f">u{size}").byteswap().tobytes() if size > 1 else data


def _value(header: Mapping[str, Any], tag: str, default: Any) -> Any:
    return (header.get(tag, {}).get("Value") or [default])[0]
