"""A page as it is printed, with everything that can stand on one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import imagecodecs
import numpy as np

from consult.model import Consult, Diagnosis, KeyImage, Patient, Report, Signature, State, Study
from consult.reports.model import EarlierVersion, Header, Letterhead, Page, Picture

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
CODE = "7K3QF-0ZB9M-ABCDE-12345"
CT = "1.2.840.10008.5.1.4.1.1.2"
HEADER: Header = {
    "00080020": {"vr": "DA", "Value": ["20261123"]},
    "00080030": {"vr": "TM", "Value": ["093000"]},
    "00080050": {"vr": "SH", "Value": ["ACC1"]},
    "00080054": {"vr": "AE", "Value": ["community"]},
    "00080061": {"vr": "CS", "Value": ["CT"]},
    "00081030": {"vr": "LO", "Value": ["胸部平扫"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Wang^Xiaoming", "Ideographic": "王^小明"}]},
    "00100020": {"vr": "LO", "Value": ["P001"]},
    "00100030": {"vr": "DA", "Value": ["19800102"]},
    "00100040": {"vr": "CS", "Value": ["M"]},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00200010": {"vr": "SH", "Value": ["1"]},
}


def jpeg() -> bytes:
    """A disc."""
    rows, columns = np.mgrid[:128, :128]
    disc = ((rows - 64) ** 2 + (columns - 64) ** 2 < 50**2).astype(np.uint8) * 200
    return bytes(imagecodecs.jpeg8_encode(disc))


def report(**changes: Any) -> Report:
    """An issued version."""
    signature = Signature(user="expert.secondary", name="周敏", hospital="secondary", at=NOW)
    fields: dict[str, Any] = {
        "id": "r1",
        "author": "expert.secondary",
        "author_name": "周敏",
        "version": 1,
        "issued_at": NOW,
        "signature": signature,
        "verification_code": CODE,
        "findings": "右肺上叶见一直径约 12 mm 的结节，边缘光滑。",
        "impression": "右肺上叶结节，考虑良性可能。",
        "recommendations": "建议 3 个月后复查。",
        "positive": True,
    }
    return Report.model_validate(fields | changes)


def page(*, images: int = 2, **changes: Any) -> Page:
    """A page; `changes` of its report."""
    keys = [
        KeyImage(study_uid="1.2.3", holder="community", series_uid="1.2.3.1", instance_uid=f"1.2.3.1.{n}", note="结节")
        for n in range(1, images + 1)
    ]
    printed = report(key_images=keys, **changes)
    consult = Consult(
        id="a" * 32, number="C-20261124-0001", version=5, state=State.ISSUED, applicant="doctor.community",
        applicant_name="陈建国", applicant_hospital="community", consultant_hospital="secondary", created_at=NOW,
        timeline=[], studies=[Study(study_uid="1.2.3", holder="community")], chief_complaint="体检发现右肺结节",
        diagnoses=[Diagnosis(code="R91.1", text="孤立性肺结节")], purpose="请协助诊断",
        patient=Patient(patient_id="P001", name="王小明", sex="M", birth_date="19800102"), report=printed,
    )  # fmt: skip
    earlier = [
        EarlierVersion(version=number, issued_at=NOW - timedelta(days=1), reason_of_next="左右写反")
        for number in range(1, printed.version)
    ]
    return Page(
        consult=consult,
        report=printed,
        letterhead=Letterhead(name_zh="滨江市第二人民医院", name_en="Second Hospital", phone="010-5550-0100"),
        applicant_hospital=Letterhead(name_zh="江湾社区卫生服务中心"),
        study=HEADER,
        holder="community",
        studies=[HEADER],
        pictures=[
            Picture(image=one, sop_class_uid=CT, series_number=3, instance_number=n, modality="CT", jpeg=jpeg())
            for n, one in enumerate(keys, start=1)
        ],
        earlier=earlier,
        verify_url=f"https://portal.example/verify/{CODE}",
    )
