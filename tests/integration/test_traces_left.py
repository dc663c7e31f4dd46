"""What a look leaves behind: an audit record for every search, view, store and denial, and nobody's name in a log."""

from pathlib import Path
from uuid import uuid4

from imaging_native import ct
from imaging_native.asking import until
from imaging_native.region import Region
from imaging_native.session import portal_client
from imaging_native.story.images import ImageScene

PERSON = ct.Person("P-7007", "Ouyang^Mingzhu=欧阳^明珠", "19810405", "F")
ALL_FRAMES = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}


def read_logs(region: Region) -> dict[str, str]:
    return {log.name: log.read_text(errors="replace") for log in Path(region.state["folder"]).glob("*.log")}


async def test_every_look_is_recorded_and_no_log_names_the_patient(region: Region, tmp_path: Path) -> None:
    series = ct.write_series(tmp_path, slices=2, seed=int(uuid4()) % 10**6, person=PERSON)
    scene = ImageScene(region.state, tmp_path, 2)
    await scene.dcmsend(series.files)
    await scene.aclose()
    doctor = await portal_client(region.state, "doctor.community")
    expert = await portal_client(region.state, "expert.secondary")
    root = f"/dicomweb/studies/{series.study_uid}"

    async def found() -> bool:
        answer = await doctor.get("/dicomweb/studies", params={"PatientName": "欧阳明珠", "fuzzymatching": "true"})
        return answer.status_code == 200 and bool(answer.json())

    await until(found, "the study in a search by name")
    (row, *_) = (await doctor.get(f"{root}/instances")).json()
    frame = f"{root}/series/{series.series_uid}/instances/{row['00080018']['Value'][0]}/frames/1"
    assert (await doctor.get(frame, headers=ALL_FRAMES)).status_code == 200
    assert (await expert.get(frame, headers=ALL_FRAMES)).status_code == 404
    await doctor.aclose()
    await expert.aclose()

    records = region.client("root")["audit"]["records"]

    async def recorded() -> bool:
        of_study = [d["record"] async for d in records.find({"record.study_uid": series.study_uid})]
        seen = {(record["action"], record["outcome"], record["user"]) for record in of_study}
        searches = await records.count_documents({"record.action": "search", "record.user": "doctor.community"})
        return (
            bool(searches)
            and {
                ("store", "success", "edge-community"),
                ("view", "success", "doctor.community"),
                ("view", "denied", "expert.secondary"),
            }
            <= seen
        )

    await until(recorded, "the audit records of store, search, view and denial")
    logs = read_logs(region)
    assert "gateway.log" in logs
    for secret in (PERSON.patient_id, "Ouyang", "欧阳", PERSON.birth_date):
        assert not [name for name, text in logs.items() if secret in text], secret
