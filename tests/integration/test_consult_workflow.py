"""A consult over the real servers with everybody's own token: one level up and back, a panel, a second reader."""

import asyncio
import secrets
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from imaging_common.events import ConsultEvent
from imaging_common.messaging.cloudevents import read_envelope, read_event
from imaging_common.settings import ServiceSettings
from imaging_common.testing.kafka import read_all
from imaging_native import ct
from imaging_native.applications import IMPRESSION, REPORT, Person, application, of_study
from imaging_native.asking import until
from imaging_native.distributed import fill_pacs, until_listed
from imaging_native.region import Region
from imaging_native.session import portal_client

SLICES = 2
EVENTS_BELOW = [
    "ConsultSubmitted",
    "ConsultAccepted",
    "ConsultAssigned",
    "ConsultReadingStarted",
    "ConsultReportDrafted",
    "ConsultPanelChanged",
    "ConsultOpinionGiven",
    "ConsultEscalated",
    "ConsultOpinionGiven",
    "ConsultReviewRequested",
    "ConsultReviewApproved",
    "ReportIssued",
    "ConsultAcknowledged",
]


async def in_archive(region: Region, folder: Path) -> str:
    """A study of the community hospital; its UID."""
    series = await asyncio.to_thread(ct.write_series, folder, slices=SLICES, seed=secrets.randbelow(10**9))
    await fill_pacs({**region.state["edges"]["community"], "dicomweb": ""}, series.files)
    doctor = await portal_client(region.state, "doctor.community")
    await until_listed(doctor, series.study_uid, SLICES)
    await doctor.aclose()
    return series.study_uid


async def told(region: Region, case_id: str) -> list[str]:
    """The events of a case, in the order of its versions."""
    state = region.state["kafka"]
    settings = ServiceSettings(
        kafka_bootstrap=state["bootstrap"],
        kafka_username="notification",
        kafka_password=SecretStr(state["users"]["notification"]),
    )
    records = [*await read_all(settings, "consult-changed"), *await read_all(settings, "report-changed")]
    found = [read_event(record, read_envelope(record)) for record in records]
    events = [one for one in found if isinstance(one, ConsultEvent) and one.consult_id == case_id]
    return [one.type_name() for one in sorted(events, key=lambda one: one.version.n)]


async def test_case_goes_one_level_up_and_comes_back_as_an_opinion(region: Region, tmp_path: Path) -> None:
    study = of_study(await in_archive(region, tmp_path), "community")
    async with AsyncExitStack() as stack:
        names = ("doctor.community", "expert.secondary", "chief.secondary", "coordinator.secondary", "doctor.tertiary")
        doctor, expert, chief, desk, above = [
            await stack.enter_async_context(Person.signed_in(region, name)) for name in names
        ]
        beside = await stack.enter_async_context(Person.signed_in(region, "expert.outside"))
        case = await doctor.apply(application(studies=[study], urgency="urgent"))
        case = await desk.act(await desk.read(case["id"]), "accept")
        both = await asyncio.gather(expert.act(case, "claim"), chief.act(case, "claim"), return_exceptions=True)
        (lost,) = [one for one in both if isinstance(one, httpx.HTTPStatusError)]
        (won,) = [one for one in both if isinstance(one, dict)]
        assert (lost.response.status_code, lost.response.json()["changed_by"]) == (409, won["expert_name"])
        if won["expert"] == "chief.secondary":
            expert, chief = chief, expert
        reader = "chief.secondary" if won["expert"] == "expert.secondary" else "expert.secondary"
        case = await expert.act(won, "read")
        path = f"/consults/{case['id']}/report/draft"
        body = {"revision": 0, "text": REPORT}
        (await expert.client.put(path, json=body, headers=expert.headers)).raise_for_status()
        case = await expert.act(await expert.read(case["id"]), "ask-panel", member="expert.outside", question="活检？")
        await beside.act(await beside.read(case["id"]), "give-opinion", opinion="不需活检")
        target = {"target_kind": "hospital", "consultant_hospital": "tertiary"}
        case = await expert.read(case["id"])
        case = await expert.act(case, "escalate", reason="性质难定", target=target)

        child = await above.read(case["children"][0])
        assert [one["text"] for one in child["opinions"]] == ["不需活检", f"性质难定\n\n{IMPRESSION}"]
        hidden = await doctor.client.get(f"/consults/{child['id']}", headers=doctor.headers)
        assert hidden.status_code == 404
        child = await above.to_issued(child, {**REPORT, "impression": "良性"})
        await expert.act(await expert.read(child["id"]), "acknowledge")

        case = await expert.read(case["id"])
        assert [(one["text"], one["from_number"]) for one in case["opinions"]] == [("良性", child["number"])]
        case = await expert.act(case, "request-review", member=reader)
        case = await chief.act(await chief.read(case["id"]), "approve")
        case = await expert.act(case, "issue")
        case = await doctor.act(await doctor.read(case["id"]), "acknowledge")
        assert case["report"]["reviewer"]["user"] == reader
        assert (case["state"], case["allowed"]) == ("acknowledged", [])

        async def everything() -> bool:
            return [kind for kind in await told(region, case["id"]) if kind in EVENTS_BELOW] == EVENTS_BELOW

        await until(everything, "every transition's event, once")


async def test_study_of_another_hospital_is_sent_only_by_who_may_see_it(region: Region, tmp_path: Path) -> None:
    study = of_study(await in_archive(region, tmp_path), "community")
    async with (
        Person.signed_in(region, "expert.secondary") as stranger,
        Person.signed_in(region, "doctor.community") as own,
    ):
        body = application(consultant_hospital="tertiary", studies=[study])
        with pytest.raises(httpx.HTTPStatusError) as refused:
            await stranger.apply(body)
        assert refused.value.response.status_code == 403
        await own.apply(application(studies=[study]))

        async def sent() -> bool:
            answer = await stranger.client.post("/consults", json=body, headers=stranger.headers)
            assert answer.status_code in (201, 403), answer.text
            return answer.status_code == 201

        await until(sent, "the study that a case opened to them")
