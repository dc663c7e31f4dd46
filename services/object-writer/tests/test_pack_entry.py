"""Pack entries: byte-exact for every sample the gate accepts, smaller where pixels are native, refused when rotten."""

from pathlib import Path

import pydicom
import pytest

from imaging_common.dicom import CheckedInstance, RejectedInstance, check_instance
from imaging_common.objects.rebuild import rebuild
from imaging_native import ct
from object_writer.compress import pack_entry
from object_writer.model import moved, pixel_shape

DATA = Path(pydicom.__file__).parent / "data"


def accepted() -> list[tuple[Path, CheckedInstance]]:
    found = []
    for path in sorted(DATA.rglob("*")):
        if path.is_file():
            try:
                found.append((path, check_instance(path.read_bytes())))
            except RejectedInstance:
                continue
    return found


@pytest.mark.parametrize(("path", "checked"), accepted(), ids=lambda value: getattr(value, "name", ""))
def test_file_comes_back_byte_for_byte(path: Path, checked: CheckedInstance) -> None:
    file, instance = path.read_bytes(), checked.stored(0)
    entry, stored = pack_entry(file, instance, pixel_shape(instance))
    assert len(entry) == stored.length
    shifted = moved(stored, 1000)
    assert rebuild(memoryview(entry), 1000, shifted) == file


def test_ct_slice_becomes_htj2k_and_smaller(tmp_path: Path) -> None:
    file = ct.write_series(tmp_path, slices=1, seed=7).files[0].read_bytes()
    instance = check_instance(file).stored(0)
    entry, stored = pack_entry(file, instance, pixel_shape(instance))
    assert stored.encoding == "htj2k"
    assert stored.frame_transfer_syntax_uid == "1.2.840.10008.1.2.4.202"
    assert len(entry) < 0.7 * len(file)


def test_staged_file_is_refused_when_it_is_rotten(tmp_path: Path) -> None:
    file = bytearray(ct.write_series(tmp_path, slices=1, seed=8).files[0].read_bytes())
    instance = check_instance(bytes(file)).stored(0)
    file[-1] ^= 1
    with pytest.raises(ValueError, match="SHA-256"):
        pack_entry(bytes(file), instance, pixel_shape(instance))
