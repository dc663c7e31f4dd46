"""Routing, rosters and invitations over the real servers: who gets a case that is sent to the right one."""

import asyncio
import html
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from imaging_native import ct
from imaging_native.applications import Case, Person, application, of_study
from imaging_native.asking import until
from imaging_native.distributed import fill_pacs, until_listed
from imaging_native.region import Region
from imaging_native.session import portal_client

SLICES = 2
ALWAYS = [f"{day}-{shift}" for day in range(7) for shift in ("day", "night")]
AUTO = {"target_kind": "auto", "consultant_hospital": ""}
ONE_UP = [{"name": f"{level} →", "level": level} for level in ("community", "secondary", "tertiary")]
ON_DUTY = ("doctor.tertiary", "expert.tertiary")
OPEN = ("submitted", "returned", "accepted", "assigned", "reading", "drafted", "in-review", "approved")


@pytest.fixture(scope="module")
async def study(region: Region, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A CT of the chest, of the community hospital."""
    folder: Path = tmp_path_factory.mktemp("routing")
    series = await asyncio.to_thread(ct.write_series, folder, slices=SLICES, seed=secrets.randbelow(10**9))
    await fill_pacs({**region.state["edges"]["community"], "dicomweb": ""}, series.files)
    doctor = await portal_client(region.state, "doctor.community")
    await until_listed(doctor, series.study_uid, SLICES)
    await doctor.aclose()
    return of_study(series.study_uid, "community")


class Staff:
    """The people of the story, each signed in."""

    def __init__(self, people: dict[str, Person]) -> None:
        self.doctor = people["doctor.community"]
        self.expert = people["expert.secondary"]
        self.above = {user: people[user] for user in ON_DUTY}
        self.operator = people["operator.region"]

    async def put_at(self, revision: int, part: str, content: dict[str, Any]) -> httpx.Response:
        """Replace it, as it was seen."""
        body = {"revision": revision, **content}
        return await self.operator.client.put(f"/consults/{part}", json=body, headers=self.operator.headers)

    async def put(self, part: str, content: dict[str, Any]) -> httpx.Response:
        """Replace what operators set, as it is now."""
        client, headers = self.operator.client, self.operator.headers
        kept = await client.get(f"/consults/{part}", headers=headers)
        kept.raise_for_status()
        return await self.put_at(kept.json()["revision"], part, content)

    async def roster(self, duty: list[str]) -> None:
        """Who is on duty: both experts of the tertiary hospital, or nobody."""
        rows = [{"user": user, "subspecialties": ["chest"], "duty": duty} for user in ON_DUTY]
        (await self.put("experts", {"experts": rows})).raise_for_status()


@pytest.fixture
async def staff(region: Region) -> AsyncIterator[Staff]:
    """Afterwards the table leads one level up again, and nobody is on duty."""
    names = ("doctor.community", "expert.secondary", *ON_DUTY, "operator.region")
    async with AsyncExitStack() as stack:
        staff = Staff({name: await stack.enter_async_context(Person.signed_in(region, name)) for name in names})
        await staff.roster(ALWAYS)
        yield staff
        (await staff.put("routing", {"rows": ONE_UP})).raise_for_status()
        await staff.roster([])


async def loads(region: Region) -> dict[str, int]:
    """Open cases of those who are on duty, as the database has them."""
    cases = region.client("root")["consult"]["consults"]
    found = {}
    for user in ON_DUTY:
        theirs = {"$or": [{"expert": user}, {"expert": None, "nominee": user}]}
        found[user] = await cases.count_documents({"state": {"$in": OPEN}, **theirs})
    return found


async def test_application_goes_where_the_operators_table_says(region: Region, staff: Staff, study: Any) -> None:
    rows = [
        {"name": "乳腺", "modality": "MG", "hospital": "tcm"},
        {"name": "胸部CT", "level": "community", "modality": "CT", "body_part": "CHEST", "hospital": "tertiary"},
        *ONE_UP,
    ]
    kept = await staff.put("routing", {"rows": rows})
    assert (kept.status_code, [row["name"] for row in kept.json()["rows"]][:2]) == (200, ["乳腺", "胸部CT"])
    seen_at = kept.json()["revision"]
    both = await asyncio.gather(*(staff.put_at(seen_at, "routing", {"rows": rows}) for _ in range(2)))
    assert sorted(one.status_code for one in both) == [200, 409]
    refused = await staff.put("routing", {"rows": [{"name": "走失", "hospital": "nowhere"}]})
    assert (refused.status_code, "走失" in refused.json()["detail"]) == (422, True)
    assert (await staff.doctor.client.get("/consults/routing", headers=staff.doctor.headers)).status_code == 403

    body = application(studies=[study], **AUTO)
    tried = await staff.doctor.client.post(
        "/consults/routing/try", json={"application": body}, headers=staff.doctor.headers
    )
    assert (tried.json()["row"], tried.json()["chosen"]["consultant_hospital"]) == ("胸部CT", "tertiary")
    known = await loads(region)
    nominees = []
    for _ in range(abs(known[ON_DUTY[0]] - known[ON_DUTY[1]]) + 2):
        least = min(ON_DUTY, key=lambda user: (known[user], user))
        case = await staff.doctor.apply(body)
        assert (case["routed_by"], case["consultant_hospital"], case["nominee"]) == ("胸部CT", "tertiary", least)
        nominees.append(least)
        known = await loads(region)
    assert set(nominees) == set(ON_DUTY)
    seen = await staff.above[nominees[0]].read(case["id"])
    assert (seen["timeline"][-1]["about"], "claim" in seen["allowed"]) == ("胸部CT", True)


async def test_escalated_case_finds_the_right_one_a_level_up(staff: Staff, study: Any) -> None:
    case = await staff.doctor.apply(application(studies=[study]))
    case = await staff.expert.act(await staff.expert.read(case["id"]), "claim")
    case = await staff.expert.act(case, "escalate", reason="性质难定")
    child = await staff.expert.read(case["children"][0])
    assert (child["consultant_hospital"], child["nominee"] in ON_DUTY) == ("tertiary", True)
    assert (await staff.above[child["nominee"]].read(child["id"]))["number"] == child["number"]


async def test_expert_is_found_by_name_and_pinyin(staff: Staff) -> None:
    for words in ("郑海峰", "zhenghaifeng", "zhf tertiary", "神经放射"):
        params = {"q": words, "hospital": "tertiary"}
        found = await staff.doctor.client.get("/consults/experts/search", params=params, headers=staff.doctor.headers)
        assert [(one["user"], one["on_duty"]) for one in found.json()] == [("expert.tertiary", True)], words


async def to_above(staff: Staff, study: Any) -> tuple[Case, Person]:
    """A case that an expert of the tertiary hospital has."""
    above = staff.above["expert.tertiary"]
    case = await staff.doctor.apply(application(consultant_hospital="tertiary", studies=[study]))
    return await above.act(await above.read(case["id"]), "claim"), above


async def test_invited_expert_comes_in_by_the_email_and_sees_this_case_alone(
    region: Region, staff: Staff, study: Any
) -> None:
    other, _ = await to_above(staff, study)
    case, above = await to_above(staff, study)
    email = f"jane.{uuid4().hex[:8]}@clinic.example"
    body = {"consult_id": case["id"], "email": email, "name": "Jane Smith", "language": "en", "question": "Biopsy?"}
    for stranger in (staff.doctor, staff.expert):
        refused = await stranger.client.post("/consults/invitations", json=body, headers=stranger.headers)
        assert refused.status_code in (403, 404)
    both = [await above.client.post("/consults/invitations", json=body, headers=above.headers) for _ in range(2)]
    assert [one.status_code for one in both] == [201, 201], both[0].text
    assert both[0].json() == both[1].json()
    invited = both[0].json()
    child = await above.read(invited["case_id"])
    assert (child["consultant_hospital"], child["nominee"], child["by_name"]) == ("outside", invited["user"], True)
    assert email not in str(child)

    password = secrets.token_urlsafe(16)
    ended = await follow(await the_link(region, email), password)
    assert urlsplit(ended).path == f"/portal/consults/{child['id']}"
    state = region.state
    state["users"][email] = {"password": password}
    portal = await portal_client(state, email)
    page = await portal.get(f"/portal/consults/{child['id']}", headers={"Accept": "text/html"})
    assert (page.status_code, child["number"] in page.text) == (200, True)
    assert (await portal.get(f"/portal/consults/{case['id']}")).status_code == 404

    async def only_this_study() -> bool:
        answer = await portal.get("/dicomweb/studies", headers={"Accept": "application/dicom+json"})
        rows = answer.json() if answer.status_code == 200 else []
        return [row["0020000D"]["Value"][0] for row in rows] == [study["study_uid"]]

    await until(only_this_study, "the case's study, and no other")
    await portal.aclose()

    async with Person.signed_in(_With(region, state), email) as expert:  # type: ignore[arg-type]
        for box in ("received", "sent", "mine", "panel", "review", "drafts"):
            listed = await expert.client.get("/consults", params={"box": box}, headers=expert.headers)
            assert [one["id"] for one in listed.json()] == ([child["id"]] if box == "received" else []), box
        for hidden in (case, other):
            assert (await expert.client.get(f"/consults/{hidden['id']}", headers=expert.headers)).status_code == 404
        issued = await expert.to_issued(await expert.read(child["id"]))
    case = await above.read(case["id"])
    assert [one["from_number"] for one in case["opinions"]] == [issued["number"]]


async def test_invited_expert_gives_an_opinion_where_a_case_does_not_leave_the_region(
    region: Region, staff: Staff, study: Any
) -> None:
    case = await staff.doctor.apply(application(studies=[study]))
    case = await staff.expert.act(await staff.expert.read(case["id"]), "claim")
    email = f"lin.{uuid4().hex[:8]}@clinic.example"
    body = {"consult_id": case["id"], "email": email, "name": "林文博", "language": "zh"}
    headers = staff.expert.headers
    refused = await staff.expert.client.post("/consults/invitations", json={**body, "part": "case"}, headers=headers)
    assert refused.status_code == 422
    taken = {**body, "email": "doctor.community@region.example"}
    assert (await staff.expert.client.post("/consults/invitations", json=taken, headers=headers)).status_code == 422
    made = await staff.expert.client.post("/consults/invitations", json=body, headers=headers)
    assert (made.status_code, made.json()["case_id"], made.json()["mailed"]) == (201, case["id"], True)
    case = await staff.expert.read(case["id"])
    assert [(one["user"], one["name"], one["hospital"]) for one in case["panel"]] == [
        (made.json()["user"], "林文博", "outside")
    ]
    assert (await the_link(region, email)).startswith(region.keycloak.issuer)


class _With:
    """A region with somebody more in it."""

    def __init__(self, region: Region, state: dict[str, Any]) -> None:
        self._region, self.state = region, state
        self.client_secret = region.client_secret


async def the_link(region: Region, email: str) -> str:
    """Where the one e-mail to this address leads."""
    found: list[dict[str, Any]] = []

    async def arrived() -> bool:
        async with httpx.AsyncClient(base_url=region.state["mail"]["http"], timeout=10) as client:
            found[:] = (await client.get("/messages", params={"to": email})).json()["messages"]
        return bool(found)

    await until(arrived, "the e-mail")
    assert len(found) == 1
    link = re.search(r"https?://\S+", found[0]["text"])
    assert link is not None, found[0]["text"]
    return link[0]


async def follow(link: str, password: str) -> str:
    """The link as a browser follows it: the password is set; where the last page leads."""
    async with httpx.AsyncClient(timeout=30, follow_redirects=True) as client:

        async def send_secure_cookies_on_loopback(response: httpx.Response) -> None:
            for cookie in client.cookies.jar:
                cookie.secure = False

        client.event_hooks["response"].append(send_secure_cookies_on_loopback)
        page = await client.get(link)
        proceed = re.search(r'href="([^"]*action-token[^"]*)"', page.text)
        if proceed is not None:
            page = await client.get(str(page.url.join(html.unescape(proceed[1]))))
        action = re.search(r'<form[^>]*action="([^"]+)"', page.text)
        assert action is not None, page.text[:2000]
        form = {"password-new": password, "password-confirm": password}
        ended = await client.post(html.unescape(action[1]), data=form)
    leads = re.search(r'href="([^"]*/portal/consults/[^"]*)"', ended.text)
    assert leads is not None, ended.text[:3000]
    return html.unescape(leads[1])
