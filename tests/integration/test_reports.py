"""A hospital's report by MLLP, in GB18030, beside its images; corrected, unmatched and matched, and posted as FHIR."""

import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import hl7
import httpx
from hl7.mllp import open_hl7_connection

from imaging_native import ct
from imaging_native.asking import until
from imaging_native.edges import edge_client
from imaging_native.region import Region
from imaging_native.session import portal_client
from imaging_native.story.images import ImageScene

PERSON = ct.Person("P-9009", "Zhuge^Mengyao=诸葛^梦瑶", "19900101", "F")


MSH = r"MSH|^~\&|RIS|放射科|EDGE|CLOUD|20261124101500||ORU^R01|{control}|P|2.4||||||GB 18030-2000"


def read_logs(region: Region) -> dict[str, str]:
    return {log.name: log.read_text(errors="replace") for log in Path(region.state["folder"]).glob("*.log")}


def oru(filler: str, *, status: str, text: str, study: str = "", accession: str = "", control: str = "") -> bytes:
    lines = [
        MSH.format(control=control or uuid4().hex[:18]),
        "PID|1||P-9009^^^H^PI||诸葛^梦瑶||19900101|F",
        f"OBR|1||{filler}|CT01^胸部CT平扫||||||||||||||{accession}||||20261124101000|||{status}|||||||D9&周&敏",
        "OBX|1|FT|R^报告||检查所见：两肺纹理清晰。\\.br\\诊断意见：" + text + "||||||" + status,
        *([f"OBX|2|HD|113014^DICOM Study^DCM||{study}||||||{status}"] if study else []),
    ]
    return ("\r".join(lines) + "\r").encode("gb18030")


async def send(region: Region, message: bytes, hospital: str = "community") -> str:
    """MSA-1 that the hospital's edge agent answers."""
    reader, writer = await open_hl7_connection("127.0.0.1", region.state["edges"][hospital]["mllp_port"])
    try:
        writer.writeblock(message)
        await writer.drain()
        answer = await reader.readblock()
    finally:
        writer.close()
    return str(hl7.parse(answer.decode("gb18030")).segment("MSA")[1])


async def test_report_by_mllp_stands_beside_the_images_and_is_corrected(region: Region, tmp_path: Path) -> None:
    series = ct.write_series(tmp_path, slices=2, seed=int(uuid4()) % 10**6, person=PERSON)
    scene = ImageScene(region.state, tmp_path, 2)
    await scene.dcmsend(series.files)
    await scene.aclose()
    filler = f"F{uuid4().hex[:10]}"
    first = oru(filler, status="F", text="未见明显异常", study=series.study_uid)
    assert await send(region, first) == "AA"
    assert await send(region, first) == "AA"
    assert await send(region, oru(filler, status="C", text="右肺上叶磨玻璃结节", study=series.study_uid)) == "AA"
    assert await send(region, b"MSH|^~\\&|RIS||||20261124||ADT^A01|1|P|2.4\rPID|1\r") == "AR"
    doctor = await portal_client(region.state, "doctor.community")
    page = f"/portal/studies/community/{series.study_uid}/reports"

    async def corrected() -> str:
        answer = await doctor.get(page)
        shown = answer.text if answer.status_code == 200 else ""
        return shown if 'data-versions="2"' in shown else ""

    shown = await until(corrected, "both versions beside the images")
    newest, former = shown.split('data-testid="former-version"')
    assert "右肺上叶磨玻璃结节" in newest
    assert "未见明显异常" in former
    assert 'data-status="amended"' in newest
    assert f"StudyInstanceUIDs={series.study_uid}" in newest

    async def listed() -> bool:
        return page in (await doctor.get("/portal/studies")).text

    await until(listed, "the report's link in the study list")
    token = await csrf(doctor, "/portal/reports")
    found = await doctor.post("/portal/reports/search", data={"csrf": token, "words": "磨玻璃 诸葛梦瑶"})
    assert filler in found.text
    original = re.search(r'href="(/portal/reports/[^"]+/original)"', newest)
    assert original is not None
    data = (await doctor.get(original.group(1))).content
    assert "右肺上叶磨玻璃结节".encode("gb18030") in data
    expert = await portal_client(region.state, "expert.secondary")
    assert (await expert.get(page)).status_code == 404
    assert (await expert.get(original.group(1))).status_code == 404
    await doctor.aclose()
    await expert.aclose()
    logs = read_logs(region)
    assert not [name for name, log in logs.items() if "诸葛" in log or "P-9009" in log]


async def csrf(client: httpx.AsyncClient, page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', (await client.get(page)).text)
    assert found is not None
    return found.group(1)


async def test_unmatched_report_is_matched_by_an_operator(region: Region, tmp_path: Path) -> None:
    series = ct.write_series(tmp_path, slices=1, seed=int(uuid4()) % 10**6, person=PERSON)
    scene = ImageScene(region.state, tmp_path, 1)
    await scene.dcmsend(series.files)
    await scene.aclose()
    filler = f"U{uuid4().hex[:10]}"
    assert await send(region, oru(filler, status="F", text="双肺多发小结节")) == "AA"
    operator = await portal_client(region.state, "operator.region")

    async def waiting() -> str:
        text = (await operator.get("/portal/reports/review")).text
        row = re.search(rf'data-report="{filler}".*?href="(/portal/reports/review/[^"]+)"', text, re.DOTALL)
        return row.group(1) if row else ""

    path = await until(waiting, "the report in the review list")

    async def likely() -> bool:
        return f'data-study="{series.study_uid}"' in (await operator.get(path)).text

    await until(likely, "the study among the likely ones")
    token = await csrf(operator, path)
    done = await operator.post(path, data={"csrf": token, "revision": "0", "study_uid": series.study_uid})
    assert done.status_code == 200
    await operator.aclose()
    doctor = await portal_client(region.state, "doctor.community")

    async def beside() -> bool:
        answer = await doctor.get(f"/portal/studies/community/{series.study_uid}/reports")
        return answer.status_code == 200 and "双肺多发小结节" in answer.text

    await until(beside, "the matched report beside the images")
    await doctor.aclose()
    records = region.client("root")["audit"]["records"]

    async def recorded() -> Any:
        return await records.find_one({"record.action": "link", "record.study_uid": series.study_uid})

    await until(recorded, "the audit record of the link")


async def test_fhir_report_waits_for_its_images(region: Region, tmp_path: Path) -> None:
    series = ct.write_series(tmp_path, slices=1, seed=int(uuid4()) % 10**6, person=PERSON)
    resource = {
        "resourceType": "DiagnosticReport",
        "identifier": [{"value": f"R{uuid4().hex[:10]}"}],
        "status": "final",
        "subject": {"identifier": {"value": PERSON.patient_id}},
        "imagingStudy": [{"identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{series.study_uid}"}}],
        "conclusion": "胸椎退行性改变",
        "issued": "2026-11-24T10:00:00+08:00",
    }
    async with await edge_client(region.state, "community") as ris:
        answer = await ris.post("/fhir/DiagnosticReport", json=resource)
        assert answer.status_code == 201
        assert answer.headers["location"].startswith("DiagnosticReport/")
        refused = await ris.post("/fhir/DiagnosticReport", json={**resource, "status": "good"})
        assert refused.json()["resourceType"] == "OperationOutcome"
    scene = ImageScene(region.state, tmp_path, 1)
    await scene.dcmsend(series.files)
    await scene.aclose()
    doctor = await portal_client(region.state, "doctor.community")

    async def beside() -> bool:
        answer = await doctor.get(f"/portal/studies/community/{series.study_uid}/reports")
        return answer.status_code == 200 and "胸椎退行性改变" in answer.text

    await until(beside, "the FHIR report beside images that came later")
    await doctor.aclose()
