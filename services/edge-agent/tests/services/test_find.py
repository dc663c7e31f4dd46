"""What a workstation finds in the region, by DCMTK's `findscu`."""

from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

STUDY = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientID", "PatientName", "IssuerOfPatientID")
ALL_IDS = (*STUDY, "OtherPatientIDsSequence")


async def test_patients_of_two_hospitals_with_the_same_id_never_merge(station: Any, study: Any) -> None:
    own, foreign = study("community", "1001", "Wang^Xiaodong=王^小东"), study("secondary", "1001", "Li^Na=李^娜")
    station.region.studies += [own, foreign]
    found = {one.StudyInstanceUID: one for one in await station.find(*ALL_IDS)}
    assert {uid: str(one.PatientID) for uid, one in found.items()} == {own.uid: "1001", foreign.uid: "secondary:1001"}
    other = found[foreign.uid]
    assert other.IssuerOfPatientID == "REGION"
    assert [(i.PatientID, i.IssuerOfPatientID) for i in other.OtherPatientIDsSequence] == [("1001", "secondary")]
    assert {one.RetrieveAETitle for one in found.values()} == {"COMMUNITY"}
    assert {one.InstanceAvailability for one in found.values()} == {"ONLINE"}
    for asked, uid in (("1001", own.uid), ("secondary:1001", foreign.uid), ("secondary:10*", foreign.uid)):
        rows = await station.find("QueryRetrieveLevel=STUDY", "StudyInstanceUID", f"PatientID={asked}")
        assert [row.StudyInstanceUID for row in rows] == [uid], asked
    keys = ("QueryRetrieveLevel=PATIENT", "PatientID", "PatientName", "NumberOfPatientRelatedStudies")
    patients = await station.find(*keys, model="-P")
    assert sorted(str(one.PatientID) for one in patients) == ["1001", "secondary:1001"]


async def test_linked_patient_has_the_own_id_and_groups_with_own_studies(station: Any, study: Any) -> None:
    own, foreign = (
        study("community", "1001", "王^小东", resident="R1"),
        study("secondary", "77", "王^小东", resident="R1"),
    )
    station.region.studies += [own, foreign, study("tertiary", "1001", "李^娜", resident="R2")]
    keys = ("PatientID", "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedInstances")
    patients = await station.find("QueryRetrieveLevel=PATIENT", *keys, model="-P")
    counts = {str(one.PatientID): int(one.NumberOfPatientRelatedStudies) for one in patients}
    assert counts == {"1001": 2, "tertiary:1001": 1}
    asked = ("QueryRetrieveLevel=STUDY", "StudyInstanceUID", "PatientID=1001", "OtherPatientIDsSequence")
    rows = await station.find(*asked)
    assert {row.StudyInstanceUID for row in rows} == {own.uid, foreign.uid}
    linked = next(row for row in rows if row.StudyInstanceUID == foreign.uid)
    assert ("77", "secondary") in [(i.PatientID, i.IssuerOfPatientID) for i in linked.OtherPatientIDsSequence]


async def test_han_names_are_found_and_answered_in_the_character_set_of_the_question(station: Any, study: Any) -> None:
    station.region.studies += [study("community", "1", "Wang^Xiaodong=王^小东"), study("community", "2", "Li^Na=李^娜")]
    rows = await station.find("QueryRetrieveLevel=STUDY", "PatientName=王*", "PatientID")
    (found,) = rows
    assert (found.SpecificCharacterSet, found.PatientID) == ("ISO_IR 192", "1")
    assert found.PatientName.ideographic == "王^小东"
    (found,) = await station.find("QueryRetrieveLevel=STUDY", "PatientName=li*", "PatientID")
    assert found.PatientID == "2"
    asked = Dataset()
    asked.SpecificCharacterSet = "GB18030"
    asked.QueryRetrieveLevel, asked.PatientName, asked.PatientID = "STUDY", "李^*", ""
    ((_, answer), _) = find(station, asked)
    assert answer.SpecificCharacterSet == "GB18030"
    assert answer.PatientName.ideographic == "李^娜"


async def test_series_and_instances_are_found_below_a_study(station: Any, study: Any) -> None:
    one = study("secondary", "9", "Zhao^Yun", slices=3)
    station.region.studies.append(one)
    series = str(one.files[0].SeriesInstanceUID)
    keys = (f"StudyInstanceUID={one.uid}", "PatientID", "Modality", "SeriesInstanceUID")
    (row,) = await station.find("QueryRetrieveLevel=SERIES", *keys)
    assert (row.SeriesInstanceUID, row.Modality, row.PatientID) == (series, "CT", "secondary:9")
    assert await station.find("QueryRetrieveLevel=SERIES", *keys[:1], "Modality=MR", "SeriesInstanceUID") == []
    keys = (f"StudyInstanceUID={one.uid}", f"SeriesInstanceUID={series}", "SOPInstanceUID", "InstanceNumber", "Rows")
    rows = await station.find("QueryRetrieveLevel=IMAGE", *keys, model="-P")
    assert {row.SOPInstanceUID for row in rows} == {str(file.SOPInstanceUID) for file in one.files}
    assert await station.find("QueryRetrieveLevel=STUDY", "StudyDate=-20200101", "StudyInstanceUID") == []
    assert len(await station.find("QueryRetrieveLevel=STUDY", "StudyDate=20260101-", "StudyInstanceUID")) == 1


async def test_what_the_region_cannot_match_is_no_key_and_what_it_cannot_read_is_refused(
    station: Any, study: Any
) -> None:
    station.region.studies.append(study("community", "1", "A"))
    (found,) = await station.find("QueryRetrieveLevel=STUDY", "StudyInstanceUID", "0010,4000=whatever", "PatientID")
    assert found.PatientID == "1"
    for keys in (("QueryRetrieveLevel=SERIES", "SeriesInstanceUID"), ("QueryRetrieveLevel=PATIENT", "PatientID")):
        asked = Dataset()
        for key in keys:
            keyword, _, value = key.partition("=")
            setattr(asked, keyword, value)
        ((status, _),) = find(station, asked)
        assert status.Status == 0xA900
        assert status.ErrorComment


async def test_more_than_the_limit_and_a_region_that_is_away_are_told(station: Any, study: Any) -> None:
    station.region.studies += [study("community", str(number), "A", slices=1) for number in range(25)]
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID = "STUDY", ""
    *matches, (status, _) = find(station, asked)
    assert len(matches) == 20
    assert (status.Status, "ask more narrowly" in status.ErrorComment) == (0xA700, True)
    station.region.status = 503
    ((status, _),) = find(station, asked)
    assert (status.Status, "503" in status.ErrorComment) == (0xA700, True)
    station.region.status = 403
    ((status, _),) = find(station, asked)
    assert status.Status == 0xC001


async def test_study_whose_holder_is_not_said_is_shown_only_when_it_is_the_own_hospitals(
    station: Any, study: Any
) -> None:
    own, foreign = study("community", "1001", "A"), study("secondary", "1001", "B")
    station.region.studies += [own, foreign]
    station.region.hints = False
    assert [row.StudyInstanceUID for row in await station.find(*STUDY)] == [own.uid]


async def test_question_is_cancelled(station: Any, study: Any) -> None:
    station.region.studies += [study("community", str(number), "A", slices=1) for number in range(15)]
    output = await station.tool(
        "findscu", "-S", "--cancel", "2", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID"
    )
    assert "Cancel" in output


def find(station: Any, identifier: Dataset) -> list[tuple[Dataset, Dataset | None]]:
    ae = AE("WORKSTATION")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = ae.associate("127.0.0.1", station.port, ae_title="COMMUNITY")
    assert association.is_established
    try:
        return list(association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind))
    finally:
        association.release()
