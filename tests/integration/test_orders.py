"""An order typed at the portal reaches the modality: the hospital's edge agent answers DCMTK's `findscu -W`."""

import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pydicom

from imaging_native.asking import until
from imaging_native.region import Region
from imaging_native.session import portal_client

DOCTOR = "doctor.community"
ORDER = {
    "patient_id": "C-0042",
    "name": "王小东",
    "birth_date": "1968-03-12",
    "sex": "M",
    "modality": "CT",
    "body_part": "CHEST",
    "procedure": "胸部平扫",
    "station": "CT01",
    "date": "2030-01-15",
    "time": "09:30",
}


async def csrf(client: httpx.AsyncClient, page: str) -> str:
    """The form token of this session."""
    answer = await client.get(page)
    answer.raise_for_status()
    found = re.search(r'name="csrf" value="([^"]+)"', answer.text)
    assert found is not None
    return found.group(1)


def worklist(edge: dict[str, Any], folder: Path, **keys: str) -> list[pydicom.Dataset]:
    """What `findscu -W` gets from the edge agent."""
    for old in folder.glob("rsp*.dcm"):
        old.unlink()
    wanted = {
        "PatientName": "", "PatientID": "", "AccessionNumber": "", "StudyInstanceUID": "",
        "RequestedProcedureDescription": "", "ScheduledProcedureStepSequence[0].Modality": "",
        "ScheduledProcedureStepSequence[0].ScheduledStationAETitle": "",
        "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate": "", **keys,
    }  # fmt: skip
    words = [word for name, value in wanted.items() for word in ("-k", f"{name}={value}")]
    subprocess.run(
        ["findscu", "-W", "-X", "-aec", edge["ae_title"], "127.0.0.1", str(edge["services_port"]), *words],
        cwd=folder,
        check=True,
        timeout=60,
        capture_output=True,
    )
    return [pydicom.dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]


async def test_order_at_the_portal_reaches_the_modality_and_leaves_when_taken_back(
    region: Region, tmp_path: Path
) -> None:
    edge = region.state["edges"]["community"]
    client = await portal_client(region.state, DOCTOR)
    token = await csrf(client, "/portal/orders")
    placed = await client.post("/portal/orders", data={**ORDER, "csrf": token})
    assert placed.status_code == 200

    async def at_the_modality() -> list[pydicom.Dataset]:
        rows = worklist(edge, tmp_path, PatientID="C-0042")
        return [row for row in rows if row.PatientID == "C-0042"]

    (row,) = await until(at_the_modality, "the order on the worklist")
    step = row.ScheduledProcedureStepSequence[0]
    assert row.PatientName.ideographic == "王小东"
    assert (step.Modality, step.ScheduledStationAETitle) == ("CT", "CT01")
    assert step.ScheduledProcedureStepStartDate == "20300115"
    assert row.StudyInstanceUID

    (order_id,) = re.findall(r"/portal/orders/([0-9a-f]{32})/cancel", placed.text)
    await client.post(f"/portal/orders/{order_id}/cancel", data={"csrf": token})

    async def gone() -> bool:
        return not worklist(edge, tmp_path, PatientID="C-0042")

    await until(gone, "the order leaving the worklist")
    await client.aclose()
