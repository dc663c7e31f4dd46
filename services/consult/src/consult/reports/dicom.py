"""DICOM objects of an issued report: an Encapsulated PDF and a Key Object Selection, in the first study of the case.

A page enters, Part 10 files leave; the same page and PDF give the same bytes. Text is UTF-8 (ISO_IR 192).
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from io import BytesIO
from zoneinfo import ZoneInfo

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from consult.reports.identity import uid
from consult.reports.model import Page, Picture

ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
"""Without Issuer of Patient ID (0010,0021): the region's index names one also where the hospital's own images do not,
and its PACS must take both for the same patient."""
STUDY = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
    "StudyDescription",
)  # fmt: skip
MANUFACTURER = "Regional imaging cloud"
PDF_SERIES_NUMBER, KEY_SERIES_NUMBER = 99001, 99002
MAX_PN = 64


def encapsulated_pdf(page: Page, pdf: bytes) -> bytes:
    """The PDF as an Encapsulated PDF instance (PS3.3 A.45.1)."""
    dataset = _document(page, ENCAPSULATED_PDF, "pdf")
    dataset.Modality = "DOC"
    dataset.SeriesNumber = PDF_SERIES_NUMBER
    dataset.SeriesDescription = "Consultation report 会诊报告"
    dataset.ConversionType = "WSD"  # C.8.6.1, required of every encapsulated document
    dataset.AcquisitionDateTime = None
    dataset.BurnedInAnnotation = "YES"
    dataset.DocumentTitle = f"会诊报告 {page.consult.number} v{page.report.version}"
    dataset.ConceptNameCodeSequence = [_code("18748-4", "LN", "Diagnostic imaging study")]
    dataset.VerificationFlag = "VERIFIED"
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(pdf)
    dataset.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    if sources := [_reference(one) for one in _known(page.pictures)]:
        dataset.SourceInstanceSequence = sources
    if page.report.version > 1:
        dataset.PredecessorDocumentsSequence = [_predecessor(page)]
    return _part10(dataset)


def key_objects(page: Page) -> bytes | None:
    """The report's key images as a Key Object Selection (PS3.3 A.35.4, TID 2010); None when it has none."""
    pictures = _known(page.pictures)
    if not pictures:
        return None
    dataset = _document(page, KEY_OBJECT_SELECTION, "key-objects")
    dataset.Modality = "KO"
    dataset.SeriesNumber = KEY_SERIES_NUMBER
    dataset.SeriesDescription = "Consultation key images 会诊关键图像"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.CurrentRequestedProcedureEvidenceSequence = _evidence(pictures)
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = [_code("113000", "DCM", "Of Interest")]
    dataset.ContinuityOfContent = "SEPARATE"
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    dataset.ContentTemplateSequence = [template]
    dataset.ContentSequence = [*_observer(page), *map(_image, pictures), _description(page, pictures)]
    return _part10(dataset)


def instance_uid(page: Page, kind: str, version: int = 0) -> str:
    """The SOP Instance UID of what is made of this version (or another one): `pdf` or `key-objects`."""
    return uid("instance", page.consult.id, version or page.report.version, kind)


def _document(page: Page, sop_class_uid: str, kind: str) -> Dataset:
    """Patient, study, series, equipment and what both documents have in common."""
    source = Dataset.from_json(page.study)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (*PATIENT, *STUDY):
        if keyword in source:
            dataset[keyword] = source[keyword]
        elif keyword != "StudyDescription":  # type 3; the others are there, if empty
            setattr(dataset, keyword, None)
    issued = _issued(page)
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = instance_uid(page, kind)
    dataset.SeriesInstanceUID = uid("series", page.consult.id, kind)
    dataset.InstanceNumber = page.report.version
    dataset.ContentDate = dataset.InstanceCreationDate = f"{issued:%Y%m%d}"
    dataset.ContentTime = dataset.InstanceCreationTime = f"{issued:%H%M%S}"
    dataset.TimezoneOffsetFromUTC = f"{issued:%z}"
    dataset.Manufacturer = MANUFACTURER
    dataset.InstitutionName = page.letterhead.name_zh[:64]
    return dataset


def _issued(page: Page) -> datetime:
    """When it was issued, in the region's time."""
    at = page.report.issued_at
    assert at is not None, "only an issued version has objects"
    return at.astimezone(ZoneInfo(page.time_zone))


def _part10(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid("implementation")
    meta.ImplementationVersionName = "IMAGING_CONSULT"
    dataset.file_meta = meta
    file = BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def _known(pictures: Iterable[Picture]) -> list[Picture]:
    """What can be referenced; each image once."""
    known = {(one.image.instance_uid, one.image.frame): one for one in pictures if one.sop_class_uid}
    return list(known.values())


def _reference(picture: Picture) -> Dataset:
    """SOP Instance Reference Macro (PS3.3 Table 10-11); with the frame where it is not the first."""
    item = Dataset()
    item.ReferencedSOPClassUID = picture.sop_class_uid
    item.ReferencedSOPInstanceUID = picture.image.instance_uid
    if picture.image.frame > 1:
        item.ReferencedFrameNumber = picture.image.frame
    return item


def _evidence(pictures: Iterable[Picture]) -> list[Dataset]:
    """Hierarchical SOP Instance Reference Macro (PS3.3 Table C.17-3); instances without frames, each once."""
    tree: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for one in pictures:
        tree[one.image.study_uid][one.image.series_uid][one.image.instance_uid] = one.sop_class_uid
    studies = []
    for study_uid, series in tree.items():
        study = Dataset()
        study.StudyInstanceUID = study_uid
        study.ReferencedSeriesSequence = []
        for series_uid, instances in series.items():
            item = Dataset()
            item.SeriesInstanceUID = series_uid
            item.ReferencedSOPSequence = []
            for instance_uid_, sop_class_uid in instances.items():
                reference = Dataset()
                reference.ReferencedSOPClassUID = sop_class_uid
                reference.ReferencedSOPInstanceUID = instance_uid_
                item.ReferencedSOPSequence.append(reference)
            study.ReferencedSeriesSequence.append(item)
        studies.append(study)
    return studies


def _predecessor(page: Page) -> Dataset:
    """The version that this one replaces (PS3.3 Table C.17-3)."""
    reference = Dataset()
    reference.ReferencedSOPClassUID = ENCAPSULATED_PDF
    reference.ReferencedSOPInstanceUID = instance_uid(page, "pdf", page.report.version - 1)
    series = Dataset()
    series.SeriesInstanceUID = uid("series", page.consult.id, "pdf")
    series.ReferencedSOPSequence = [reference]
    study = Dataset()
    study.StudyInstanceUID = page.study["0020000D"]["Value"][0]
    study.ReferencedSeriesSequence = [series]
    return study


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _content(relationship: str, value_type: str, name: Dataset | None = None) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = relationship, value_type
    if name is not None:
        item.ConceptNameCodeSequence = [name]
    return item


def _observer(page: Page) -> list[Dataset]:
    """Observation context: the author (TID 1002, 1003)."""
    kind = _content("HAS OBS CONTEXT", "CODE", _code("121005", "DCM", "Observer Type"))
    kind.ConceptCodeSequence = [_code("121006", "DCM", "Person")]
    name = _content("HAS OBS CONTEXT", "PNAME", _code("121008", "DCM", "Person Observer Name"))
    name.PersonName = _person(page.report.author_name or page.report.author)
    return [kind, name]


def _person(name: str) -> str:
    """A name as PN (PS3.5 §6.2.1.2): Han stands in the ideographic group."""
    plain = name.replace("^", " ").replace("=", " ").replace("\\", " ")[:MAX_PN]
    return f"={plain}" if any("\u3400" <= char <= "\u9fff" for char in plain) else plain


def _image(picture: Picture) -> Dataset:
    item = _content("CONTAINS", "IMAGE")
    item.ReferencedSOPSequence = [_reference(picture)]
    return item


def _description(page: Page, pictures: Iterable[Picture]) -> Dataset:
    notes = [one.image.note for one in pictures if one.image.note]
    item = _content("CONTAINS", "TEXT", _code("113012", "DCM", "Key Object Description"))
    item.TextValue = "\r\n".join([f"会诊 {page.consult.number} v{page.report.version}", *notes])[:8000]
    return item
