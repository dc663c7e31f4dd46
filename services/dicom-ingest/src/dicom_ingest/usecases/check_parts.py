"""Pass received Part 10 files through the gate. Blocking; hashing releases the interpreter's lock."""

import mmap

from dicom_ingest.model import Accepted, Outcome, Received, Refused
from imaging_common.dicom import RejectedInstance, check_instance
from imaging_common.dicom.part10 import read_meta


def check_parts(file: Received, parts: list[tuple[int, int]], study_uid: str | None) -> list[Outcome]:
    """One outcome per part (offset, length) of `file`, in order.

    Parameters
    ----------
    study_uid
        The study that the request names: instances of another one are refused (PS3.18 §10.5.1).
    """
    if not any(length for _, length in parts):
        return [_check(memoryview(b""), offset, study_uid) for offset, _ in parts]
    if isinstance(file, bytes):
        return _check_all(memoryview(file), parts, study_uid)
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _check_all(memoryview(data), parts, study_uid)


def _check_all(whole: memoryview, parts: list[tuple[int, int]], study_uid: str | None) -> list[Outcome]:
    outcomes = []
    for offset, length in parts:
        view = whole[offset : offset + length]
        outcomes.append(_check(view, offset, study_uid))
        view.release()
    whole.release()
    return outcomes


def _check(view: memoryview, offset: int, study_uid: str | None) -> Outcome:
    try:
        instance = check_instance(view)
    except RejectedInstance as error:
        refusal = error.reason_code, error.text
        # an error's traceback holds views of the mapped file, which could then not be closed
        error.__traceback__ = None
        return Refused(*_named(view), *refusal)
    if study_uid is not None and instance.study_uid != study_uid:
        text = "the instance belongs to another study than the request names"
        return Refused(instance.sop_class_uid, instance.sop_instance_uid, "study-mismatch", text)
    return Accepted(instance, offset)


def _named(view: memoryview) -> tuple[str, str]:
    """SOP Class and Instance UID of a refused file, as far as its File Meta Information tells them."""
    try:
        meta = read_meta(view)
    except RejectedInstance as error:
        error.__traceback__ = None
        return "", ""
    return meta.sop_class_uid, meta.sop_instance_uid
