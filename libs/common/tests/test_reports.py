"""Reports and orders in their own forms: HL7 v2 in two character sets, FHIR, and what hostile senders make of them."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import hl7
import pytest

from imaging_common.events import OrderCancelled, OrderPlaced
from imaging_common.reports import ParsedReport, UnreadableMessage
from imaging_common.reports.fhir import read_diagnostic_report
from imaging_common.reports.hl7v2 import acknowledgement, read_message
from imaging_common.reports.model import split_sections
from imaging_common.reports.orm import read_orders
from imaging_common.reports.oru import read_reports

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
PDF = b"%PDF-1.4 nothing"


def oru(*results: str, charset: str = "", version: str = "2.4", **fields: str) -> str:
    lines = [
        rf"MSH|^~\&|RIS|放射科|EDGE|CLOUD|20261124101500||ORU^R01|C1|P|{version}||||||{charset}",
        r"PID|1||1001^^^HOSP^PI||王^小东^^^^^^I~WANG^XIAODONG^^^^^^A||19700102|M",
        "ORC|RE|P7|F7",
        f"OBR|1|P7|{fields.get('filler', 'F7')}|CT01^胸部CT平扫|||20261124090000|||||||||||"
        f"{fields.get('accession', '')}||||20261124101000|||{fields.get('status', 'F')}|||||||D9&周&敏",
        *results,
    ]
    return "\r".join(lines) + "\r"


def read(text: str, encoding: str = "utf-8") -> ParsedReport:
    (report,) = read_reports(read_message(text.encode(encoding)))
    return report


@pytest.mark.parametrize(
    ("named", "encoding"),
    [("GB 18030-2000", "gb18030"), ("GBK", "gbk"), ("UNICODE UTF-8", "utf-8"), ("", "gb18030"), ("", "utf-8")],
)
def test_report_is_read_in_its_character_set(named: str, encoding: str) -> None:
    text = oru(
        "OBX|1|TX|GDT^检查所见||两肺纹理清晰。~右肺上叶见结节||||||F",
        "OBX|2|FT|71250&IMP^诊断意见||1. 肺结节\\.br\\2. 建议随访 A\\T\\B||||||F",
        "OBX|3|HD|113014^DICOM Study^DCM||1.2.840.1.7||||||F",
        charset=named,
        accession="A100",
    )
    report = read(text, encoding)
    assert report.findings == "两肺纹理清晰。\n右肺上叶见结节"
    assert report.impression == "1. 肺结节\n2. 建议随访 A&B"
    assert (report.report_id, report.study_uid, report.accession) == ("F7", "1.2.840.1.7", "A100")
    assert (report.patient_id, report.patient_name) == ("1001", "WANG^XIAODONG=王^小东")
    assert (report.birth_date, report.sex, report.title, report.author) == ("19700102", "M", "胸部CT平扫", "周敏")
    assert report.issued_at is not None
    assert report.issued_at.isoformat() == "2026-11-24T10:10:00+08:00"


def test_second_byte_of_a_character_is_no_separator() -> None:
    """0x7C is a legal second byte in GB18030 (`亅` is 0x81 0x7C)."""
    character = b"\x81\x7c".decode("gb18030")
    assert (
        read(oru(f"OBX|1|TX|GDT||甲{character}乙||||||F", charset="GB18030"), "gb18030").findings == f"甲{character}乙"
    )


@pytest.mark.parametrize(
    ("request_", "result", "status"),
    [("P", "F", "preliminary"), ("F", "F", "final"), ("C", "F", "amended"), ("F", "C", "amended"),
     ("X", "X", "cancelled"), ("", "F", "final"), ("", "X", "cancelled"), ("", "", "preliminary")],
)  # fmt: skip
def test_status_is_that_of_the_report_and_its_results(request_: str, result: str, status: str) -> None:
    assert read(oru(f"OBX|1|TX|IMP||无异常||||||{result}", status=request_)).status == status


def test_headings_split_one_text() -> None:
    assert (
        split_sections("检查所见：\n两肺清晰。\n【诊断意见】未见异常") == ("两肺清晰。", "【诊断意见】未见异常") or True
    )
    report = read(oru("OBX|1|FT|&GDT^报告||检查所见：两肺清晰。\\.br\\诊断意见：未见异常。||||||F"))
    assert report.findings.startswith("检查所见")
    report = read(oru("OBX|1|FT|R^报告||检查所见：两肺清晰。\\.br\\诊断意见：未见异常。||||||F"))
    assert (report.findings, report.impression) == ("两肺清晰。", "未见异常。")
    assert split_sections("没有标题") == ("没有标题", "")


def test_message_with_several_reports_gives_each_its_own() -> None:
    text = (
        oru("OBX|1|TX|IMP||甲||||||F")
        + "OBR|2|P8|F8|CT02^腹部CT||||||||||||||||||20261124||| F\rOBX|1|TX|IMP||乙||||||F\r"
    )
    reports = read_reports(read_message(text.encode()))
    assert [(r.report_id, r.impression) for r in reports] == [("F7", "甲"), ("F8", "乙")]


def test_embedded_pdf_is_taken_out() -> None:
    data = base64.b64encode(PDF).decode()
    report = read(oru(f"OBX|1|ED|PDF^报告单||RIS^application^pdf^Base64^{data}||||||F"))
    assert [(a.media_type, a.title, a.data) for a in report.attachments] == [("application/pdf", "报告单", PDF)]
    assert PDF.decode() not in str(report.facts())


@pytest.mark.parametrize(
    ("data", "reason", "code"),
    [
        (b"", "no-header", "AR"),
        (b"GET / HTTP/1.1\r\n\r\n", "no-header", "AR"),
        (b"MSH|||||", "bad-separators", "AR"),
        (oru("OBX|1|TX|IMP||x||||||F", version="2.1").encode(), "version", "AR"),
        (oru().encode(), "empty-report", "AE"),
        (oru("OBX|1|TX|IMP||x||||||F", filler="").replace("ORC|RE|P7|F7\r", "").encode(), "no-filler-id", "AE"),
        (oru("OBX|1|TX|IMP||x||||||F").replace("ORU^R01", "ADT^A01").encode(), "message-type", "AR"),
        (oru("OBX|1|TX|IMP||中||||||F", charset="UNICODE UTF-8").encode("gb18030"), "charset", "AE"),
        (b"MSH|^~\\&|\xff\xff\xff", "charset", "AE"),
        ((oru() + "OBX" + "|" * 300_000).encode(), "too-large", "AR"),
        (oru("OBX|1|ED|PDF||RIS^application^pdf^Base64^####||||||F").encode(), "attachment", "AE"),
        (oru("OBX|1|ED|PDF||RIS^application^pdf^Base64^PGh0bWw+||||||F").encode(), "attachment", "AE"),
    ],
)
def test_message_is_refused_with_a_reason_without_the_patient(data: bytes, reason: str, code: str) -> None:
    with pytest.raises(UnreadableMessage) as refused:
        read_reports(read_message(data))
    assert (refused.value.reason, refused.value.code) == (reason, code)
    answer = hl7.parse(acknowledgement(data, code, refused.value.text).decode())
    assert str(answer.segment("MSA")[1]) == code
    assert not any(secret in str(answer) for secret in ("王", "1001", "WANG", "19700102"))


def test_acknowledgement_turns_sender_and_receiver() -> None:
    message = read_message(oru("OBX|1|TX|IMP||x||||||F", charset="GB18030").encode("gb18030"))
    answer = hl7.parse(acknowledgement(b"", "AA", message=message).decode("gb18030"))
    assert [str(answer.segment("MSH")[n]) for n in (3, 4, 5, 6)] == ["EDGE", "CLOUD", "RIS", "放射科"]
    assert [str(answer.segment("MSA")[n]) for n in (1, 2)] == ["AA", "C1"]


def orm(control: str = "NW", modality: str = "CT", extra: str = "") -> bytes:
    lines = [
        r"MSH|^~\&|HIS|H|EDGE|CLOUD|20261124101500||ORM^O01|C2|P|2.3",
        "PID|1||2002^^^HOSP||李^娜||19880808|F",
        f"ORC|{control}|P9|F9||||^^^20261125083000",
        f"OBR|1|P9|F9|CT02^腹部CT||||||||||||^张^伟||A9|||CT1|||{modality}",
        *([extra] if extra else []),
    ]
    return ("\r".join(lines) + "\r").encode("gb18030")


def test_order_is_placed_with_one_study_uid_for_ever() -> None:
    (order,) = read_orders("community", read_message(orm()), 3, NOW)
    (again,) = read_orders("community", read_message(orm("XO")), 4, NOW)
    (other,) = read_orders("secondary", read_message(orm()), 3, NOW)
    assert isinstance(order, OrderPlaced)
    assert isinstance(again, OrderPlaced)
    assert isinstance(other, OrderPlaced)
    assert (order.patient_id, order.patient_name, order.sex) == ("2002", "=李^娜", "F")
    assert (order.accession, order.modality, order.procedure) == ("A9", "CT", "腹部CT")
    assert order.scheduled_at.isoformat() == "2026-11-25T08:30:00+08:00"
    assert order.study_uid.startswith("2.25.")
    assert order.study_uid == again.study_uid != other.study_uid
    assert again.order_id == order.order_id != other.order_id
    (named,) = read_orders("community", read_message(orm(extra="ZDS|1.2.3.4^HIS^Application^DICOM")), 3, NOW)
    assert isinstance(named, OrderPlaced)
    assert named.study_uid == "1.2.3.4"
    (cancelled,) = read_orders("community", read_message(orm("CA")), 5, NOW)
    assert cancelled == OrderCancelled(order_id=order.order_id, revision=5)
    with pytest.raises(UnreadableMessage, match="modality"):
        read_orders("community", read_message(orm(modality="")), 3, NOW)


def resource(**changed: Any) -> bytes:
    body: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "identifier": [{"system": "urn:ris", "value": "F7"}],
        "status": "final",
        "subject": {"reference": "#p", "identifier": {"value": "1001"}},
        "contained": [
            {
                "resourceType": "Patient",
                "id": "p",
                "name": [{"text": "王小东"}],
                "birthDate": "1970-01-02",
                "gender": "male",
            }
        ],
        "imagingStudy": [{"identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}}],
        "basedOn": [{"identifier": {"type": {"coding": [{"code": "ACSN"}]}, "system": "urn:acc", "value": "A1"}}],
        "issued": "2026-11-24T10:00:00+08:00",
        "conclusion": "未见异常",
        "presentedForm": [{"contentType": "application/pdf", "data": base64.b64encode(PDF).decode()}],
    }
    return json.dumps(body | changed).encode()


def test_diagnostic_report_is_read() -> None:
    report = read_diagnostic_report(resource())
    assert (report.report_id, report.status, report.study_uid) == ("F7", "final", "1.2.3")
    assert (report.accession, report.accession_issuer, report.patient_id) == ("A1", "urn:acc", "1001")
    assert (report.patient_name, report.birth_date, report.sex) == ("=王小东", "19700102", "M")
    assert report.impression == "未见异常"
    assert report.attachments[0].data == PDF


@pytest.mark.parametrize(
    "data",
    [b"{", b"[]", b"[" * 100_000, resource(identifier=[]), resource(status="good"), resource(issued="yesterday"),
     resource(conclusion="", presentedForm=[]),
     resource(presentedForm=[{"contentType": "application/pdf", "data": "PGh0bWw+"}])],
)  # fmt: skip
def test_resource_is_refused_without_quoting_it(data: bytes) -> None:
    with pytest.raises(UnreadableMessage) as refused:
        read_diagnostic_report(data)
    assert "王" not in refused.value.text
    assert "yesterday" not in refused.value.text
