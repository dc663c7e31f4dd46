"""Retrieved files on their way to a workstation: patient ids coerced, and in a transfer syntax that it takes. Blocking.

Files are never read as a whole unless they must be decompressed: the head is rewritten, the rest is copied.
"""

import shutil
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pydicom import config, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from edge_agent.services.coercion import Coercion, Owner

MAX_CONVERTED_BYTES = 512 << 20
NATIVE = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")


class NotConvertible(Exception):
    """The receiver takes no form of this object that it can be brought into."""


def tolerate_everything() -> None:
    """Have pydicom pass on values that break the rules of their VR: they are not ours to correct."""
    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE


def meta_of(path: Path) -> tuple[str, str, str]:
    """(SOP Class UID, SOP Instance UID, Transfer Syntax UID) of a file."""
    meta = read_file_meta_info(path)
    return str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID), str(meta.TransferSyntaxUID)


def coerce_file(path: Path, owner: Owner, coercion: Coercion, system: str) -> Path:
    """The file with coerced patient ids, beside the first; the file itself when the patient is the hospital's own."""
    if not coercion.foreign(owner):
        return path
    coerced = path.with_suffix(".coerced")
    with path.open("rb") as source, coerced.open("xb") as target:
        dataset = dcmread(source, stop_before_pixels=True)
        at = replace(
            owner,
            native_id=str(dataset.get("PatientID") or "").strip(),
            native_issuer=str(dataset.get("IssuerOfPatientID") or "").strip(),
        )
        rest = source.tell()
        coercion.record(dataset, at, system, datetime.now())
        coercion.apply(dataset, at)
        dataset.save_as(target, enforce_file_format=True)
        source.seek(rest)
        shutil.copyfileobj(source, target, 1 << 20)
    return coerced


def convert_file(path: Path, accepted: Collection[str]) -> Path:
    """The file in one of the accepted transfer syntaxes: itself, or a converted one beside it.

    Raises
    ------
    NotConvertible
        It cannot be decompressed here, or no native transfer syntax is accepted.
    """
    _, _, syntax = meta_of(path)
    if syntax in accepted:
        return path
    target = next((uid for uid in NATIVE[:2] if uid in accepted), None)
    if target is None:
        raise NotConvertible("no native transfer syntax is accepted")
    if path.stat().st_size > MAX_CONVERTED_BYTES:
        raise NotConvertible("the object is too large to be converted")
    try:
        dataset = dcmread(path)
        if UID(syntax).is_compressed:
            dataset.decompress(generate_instance_uid=False)
        elif syntax == NATIVE[2]:
            raise NotConvertible("big endian objects are sent as they are")
        wanted = ExplicitVRLittleEndian if target == NATIVE[0] else ImplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = wanted
        converted = path.with_suffix(".converted")
        dataset.save_as(converted, implicit_vr=wanted.is_implicit_VR, little_endian=True, enforce_file_format=True)
    except NotConvertible:
        raise
    except Exception as error:  # decoders raise whatever they like
        raise NotConvertible(f"it cannot be decoded: {type(error).__name__}") from error
    return converted
