"""Makes CT series of real size: a seeded phantom with noise, Explicit VR Little Endian, one Part 10 file a slice."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
SIZE = 512


@dataclass(frozen=True, slots=True)
class Person:
    """A synthetic patient."""

    patient_id: str
    name: str
    birth_date: str
    sex: str


WANG = Person("P-1001", "Wang^Xiaodong=王^小东", "19680312", "M")


@dataclass(frozen=True, slots=True)
class Series:
    """A written series and where its files lie."""

    study_uid: str
    series_uid: str
    folder: Path
    files: tuple[Path, ...]


def uid(*parts: object) -> str:
    """A UID that is the same for the same parts."""
    return str(generate_uid(entropy_srcs=[str(part) for part in parts]))


def phantom_slice(rng: np.random.Generator, position: float) -> np.ndarray:
    """One slice of 512² signed 16-bit Hounsfield-like values: a body with two lungs and a spine, and noise."""
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    image = np.full((SIZE, SIZE), -1000.0)
    swell = 1 - 0.25 * (2 * position - 1) ** 2
    image[(x / 0.85) ** 2 + (y / (0.62 * swell)) ** 2 < 1] = 45
    for side in (-0.38, 0.38):
        image[((x - side) / (0.27 * swell)) ** 2 + ((y + 0.02) / (0.42 * swell)) ** 2 < 1] = -820
    image[(x / 0.09) ** 2 + ((y - 0.42) / 0.1) ** 2 < 1] = 700
    image[((x + 0.07) / 0.2) ** 2 + ((y + 0.15) / 0.18) ** 2 < 1] = 60
    if 0.4 < position < 0.6:
        image[((x - 0.42) / 0.06) ** 2 + ((y + 0.1) / 0.06) ** 2 < 1] = 35
    return np.asarray(image + rng.normal(0, 12, image.shape), dtype=np.int16)


def write_series(
    folder: Path, *, slices: int, seed: int, person: Person = WANG, description: str = "CHEST 1.25MM"
) -> Series:
    """Write `slices` files of 526 KB into `folder`; the same seed gives the same bytes.

    The pixels of eight slices are drawn and reused with their own noise offset, so that a long series is made fast
    while no two slices have the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    study_uid, series_uid, frame_uid = uid(seed, "study"), uid(seed, "series"), uid(seed, "frame")
    drawn = [phantom_slice(rng, i / 7) for i in range(8)]
    files = []
    for number in range(1, slices + 1):
        image = np.roll(drawn[(number - 1) * 8 // slices], number, axis=1)
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.SOPClassUID, ds.SOPInstanceUID = CT_IMAGE_STORAGE, uid(seed, "sop", number)
        ds.StudyDate, ds.SeriesDate, ds.StudyTime, ds.SeriesTime = "20261120", "20261120", "091500", "091730"
        ds.AccessionNumber, ds.Modality, ds.Manufacturer = f"A{seed:06d}", "CT", "Synthetic"
        ds.StudyDescription, ds.SeriesDescription = "胸部CT平扫", description
        ds.ReferringPhysicianName = "Li^Na=李^娜"
        ds.PatientName, ds.PatientID = person.name, person.patient_id
        ds.PatientBirthDate, ds.PatientSex = person.birth_date, person.sex
        ds.BodyPartExamined, ds.SliceThickness, ds.KVP = "CHEST", "1.25", "120"
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, series_uid
        ds.StudyID, ds.SeriesNumber, ds.InstanceNumber = "1", 2, number
        ds.ImagePositionPatient = [-180, -180, round(-number * 1.25, 3)]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.FrameOfReferenceUID = frame_uid
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns, ds.PixelSpacing = SIZE, SIZE, [0.703125, 0.703125]
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.WindowCenter, ds.WindowWidth = "40", "400"
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "HU"
        ds.PixelData = image.astype("<i2").tobytes()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{number:05d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        files.append(path)
    return Series(study_uid, series_uid, folder, tuple(files))
