"""What is made of an issued version: a PDF with Chinese text in it, an Encapsulated PDF and a Key Object Selection."""

import re
import zlib
from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset

from consult.model import KeyImage, ReportText
from consult.reports.dicom import encapsulated_pdf, key_objects
from consult.reports.difference import compare, difference
from consult.reports.model import Page
from consult.reports.press import ChildPress
from consult.reports.printing import print_report
from consult.reports.templates import all_templates, templates_for
from consult.reports.verification import new_code, read_code

from .report_pages import CODE, CT, page


def written(pdf: bytes) -> str:
    """Every character that the PDF's fonts map their glyphs to (ToUnicode, ISO 32000-1 §9.10.3)."""
    found: set[str] = set()
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            text = zlib.decompress(stream)
        except zlib.error:
            continue
        if b"beginbfchar" in text:
            codes = re.findall(rb"<[0-9A-Fa-f]+>\s*<([0-9A-Fa-f]+)>", text)
            found |= {bytes.fromhex(code.decode()).decode("utf-16-be") for code in codes}
    return "".join(sorted(found))


def read(data: bytes | None) -> Dataset:
    assert data is not None
    return pydicom.dcmread(BytesIO(data))


def test_pdf_carries_its_fonts_its_text_and_is_the_same_each_time() -> None:
    printed = page(version=2, amendment_reason="左右写反", critical=True, critical_text="气胸")
    pdf = print_report(printed)
    assert pdf.startswith(b"%PDF-")
    assert set("滨江市第二人民医院王小明结节危急值更正核验码") <= set(written(pdf))
    assert pdf == print_report(printed)
    assert pdf != print_report(page())


def test_an_address_or_markup_in_a_doctors_text_is_text() -> None:
    pdf = print_report(page(findings='<img src="http://127.0.0.1:9/x.png"><script>1</script>', images=0))
    assert set("<>") <= set(written(pdf))


def test_picture_that_could_not_be_had_is_named_in_its_place() -> None:
    whole = page()
    without = whole.model_copy(update={"pictures": [one.model_copy(update={"jpeg": None}) for one in whole.pictures]})
    assert "未" in written(print_report(without))


async def test_press_prints_in_a_child_that_is_started_again_when_it_dies() -> None:
    press = ChildPress()
    try:
        first = await press.print(page())
        assert first == print_report(page())
        child = press._child
        assert child is not None
        child.kill()
        await child.wait()
        assert await press.print(page()) == first
    finally:
        await press.close()


def test_encapsulated_pdf_is_filed_in_the_study_of_the_patient() -> None:
    printed = page()
    pdf = b"%PDF-1.7 odd"[:-1]
    dataset = read(encapsulated_pdf(printed, pdf))
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.104.1"
    assert (dataset.StudyInstanceUID, dataset.PatientID, dataset.AccessionNumber) == ("1.2.3", "P001", "ACC1")
    assert str(dataset.PatientName) == "Wang^Xiaoming=王^小明"
    assert dataset.DocumentTitle == "会诊报告 C-20261124-0001 v1"
    assert (dataset.EncapsulatedDocumentLength, dataset.EncapsulatedDocument) == (len(pdf), pdf + b"\0")
    assert [one.ReferencedSOPClassUID for one in dataset.SourceInstanceSequence] == [CT, CT]
    assert "PredecessorDocumentsSequence" not in dataset
    assert encapsulated_pdf(printed, pdf) == encapsulated_pdf(page(), pdf)


def test_later_version_is_another_object_that_names_the_one_before() -> None:
    first, second = (read(encapsulated_pdf(page(version=number), b"%PDF")) for number in (1, 2))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    (study,) = second.PredecessorDocumentsSequence
    (reference,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert (reference.ReferencedSOPInstanceUID, second.DocumentTitle[-2:]) == (first.SOPInstanceUID, "v2")


def test_key_object_selection_refers_to_each_image_once() -> None:
    printed = page()
    twice = printed.model_copy(update={"pictures": [*printed.pictures, *printed.pictures]})
    dataset = read(key_objects(twice))
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.59"
    images = [one for one in dataset.ContentSequence if one.ValueType == "IMAGE"]
    assert [one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in images] == ["1.2.3.1.1", "1.2.3.1.2"]
    (study,) = dataset.CurrentRequestedProcedureEvidenceSequence
    assert [len(one.ReferencedSOPSequence) for one in study.ReferencedSeriesSequence] == [2]


def test_report_without_key_images_has_no_key_object_selection() -> None:
    assert key_objects(page(images=0)) is None


def test_page_goes_to_the_press_and_back_unchanged() -> None:
    assert Page.model_validate_json(page().model_dump_json()) == page()


def test_difference_shows_han_by_character_and_numbers_whole() -> None:
    pieces = [(one.kind, one.text) for one in compare("左肺结节 1.5 cm", "右肺结节 15 cm")]
    assert pieces == [
        ("removed", "左"), ("added", "右"), ("same", "肺结节 "), ("removed", "1.5"), ("added", "15"), ("same", " cm"),
    ]  # fmt: skip


def test_difference_names_the_fields_and_images_that_changed() -> None:
    image = KeyImage(study_uid="1.2.3", holder="community", series_uid="1.2.3.1", instance_uid="1.2.3.1.1")
    a = ReportText(findings="同", impression="良性", key_images=[image])
    b = ReportText(findings="同", impression="良性", positive=True)
    found = difference(a, b, 1, 2)
    assert [one.field for one in found.fields if one.changed] == ["positive"]
    assert (found.key_images.added, found.key_images.removed) == ([], [image])


def test_code_is_read_as_people_type_it() -> None:
    assert read_code("7k3qf 0zb9m-abcde 12345") == CODE
    assert read_code("7K3QF-OZB9M-ABCDE-I2345") == CODE
    assert read_code("7K3QF") == read_code("x" * 1000) == read_code("七" * 20) == ""
    assert len({new_code() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("modality", "part"),
    [("CT", "CHEST"), ("CT", "HEAD"), ("MR", "BRAIN"), ("DX", "CHEST"), ("US", "ABDOMEN"), ("MG", "BREAST")],
)
def test_templates_of_an_examination_come_first_and_in_both_languages(modality: str, part: str) -> None:
    found = templates_for(modality, part)
    assert found[0].modality == modality
    assert {one.language for one in found if one.modality == modality} == {"zh", "en"}
    assert {one.id for one in found} >= {"generic-zh", "generic-en"}
    assert all(one.modality in ("", modality) for one in found)


def test_templates_fit_related_modalities_and_what_is_unknown() -> None:
    assert templates_for("CR", "LUNG")[0].id == "dx-chest-normal-zh"
    assert {one.modality for one in templates_for("XA", "KNEE")} == {""}
    assert templates_for("", "") == list(all_templates())
    assert len({one.id for one in all_templates()}) == len(all_templates())
