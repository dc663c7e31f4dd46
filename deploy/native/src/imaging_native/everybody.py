"""Every kind of user of a running region, around one study of the community hospital: for the access matrix.

The study is linked to a resident; a case opens it to the secondary hospital's expert, an EHR opened the resident's
record in a window, a link to it was shared, and a doctor of a third hospital broke the glass. `doctor.tcm` has nothing
to do with it.
"""

import html
import re
import subprocess
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx
import pydicom

from imaging_common.events import PatientLinked
from imaging_native import applications, ct
from imaging_native.asking import until
from imaging_native.distributed import until_listed
from imaging_native.edges import edge_client
from imaging_native.ehr_says import say_as_ehr
from imaging_native.region import Region
from imaging_native.session import portal_client
from imaging_native.tokens import person_token, program_token
from imaging_operate.topology import DOORS

PEOPLE = {
    "own-doctor": "doctor.community",
    "foreign-doctor": "doctor.tcm",
    "case-expert": "expert.secondary",
    "broken-glass": "doctor.tertiary",
    "hospital-operator": "operator.community",
    "region-operator": "operator.region",
    "coordinator": "coordinator.secondary",
    "auditor": "auditor.region",
}
MACHINES = ("/dicomweb", "/ehr", "/fhir", "/launches")
"""Where the gateway takes bearer tokens."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody got."""

    status_code: int
    headers: httpx.Headers
    names_study: bool
    """Whether the body says anything of the study."""


Ask = Callable[..., Awaitable[Answer]]
"""`ask(method, address, **options)`: httpx's `params`, `data` or `json`."""


class Everybody:
    """`asks[service, kind]` sends a request as somebody; `values` fill an address."""

    def __init__(self, region: Region, folder: Path) -> None:
        self._region, self._folder = region, folder
        self._stack = AsyncExitStack()
        self.asks: dict[tuple[str, str], Ask] = {}
        self.values: dict[str, str] = {}
        self._study = ""

    async def __aenter__(self) -> Self:
        try:
            await self._set_up()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _set_up(self) -> None:
        state = self._region.state
        sessions = {kind: await self._keep(await portal_client(state, user)) for kind, user in PEOPLE.items()}
        resident = await self._send_study(sessions["own-doctor"])
        secret = self._region.client_secret
        tokens = {kind: await person_token(state, user, secret("portal")) for kind, user in PEOPLE.items()} | {
            "ehr": await program_token(state["issuer"], "ehr-residents", secret("ehr-residents")),
            "gateway-account": await program_token(state["issuer"], "portal", secret("portal")),
        }
        for kind, hospital in (("edge", "community"), ("foreign-edge", "tcm")):
            edge = state["edges"][hospital]
            tokens[kind] = await program_token(state["issuer"], edge["client_id"], edge["client_secret"])
        consult, file = await self._apply(tokens["own-doctor"])
        sessions["launch"] = await self._launch(tokens["ehr"], resident)
        sessions["share"] = await self._share(sessions["own-doctor"])
        await self._break_glass(sessions["broken-glass"], resident)
        self.values |= {
            "study": self._study,
            "study_uid": self._study,
            "holder": "community",
            "hospital": "community",
            "consult_id": consult,
            "workitem_uid": f"2.25.{int(consult, 16)}",
            "file_id": file,
            "file": file,
            "version": "1",
            "a": "1",
            "b": "2",
            "resident": resident,
            "organisation": "residents",
            "frames": "1",
            "key": "0" * 32,
            "sha256": "0" * 64,
            "number": "0",
            "tag": "7FE00010",
            "action": "acknowledge",
            "language": "zh",
        }
        for kind, session in sessions.items():
            self.asks["gateway", kind] = self._by_session(session, await _csrf(session))
        anonymous = await self._keep(httpx.AsyncClient(base_url=state["portal"], timeout=30))
        self.asks["gateway", "nobody"] = self._by_session(anonymous, "")
        bases = {
            "consult": state["consult"],
            "audit": state["audit"],
            "dicom-ingest": state["ingest"],
            "notification": state["notification"],
        }
        for kind, token in tokens.items():
            if kind not in sessions:
                self.asks["gateway", kind] = await self._by_token(state["portal"], token)
            for service, base in bases.items():
                self.asks[service, kind] = await self._by_token(base, token)
        for service, base in bases.items():
            self.asks[service, "nobody"] = await self._by_token(base, "")
        for kind, hospital in (("edge", "community"), ("foreign-edge", "tcm")):
            for door in DOORS:
                self.asks[door, kind] = await self._by_certificate(hospital, door)

    async def _keep(self, client: httpx.AsyncClient) -> httpx.AsyncClient:
        """Close it with the rest."""
        self._stack.push_async_callback(client.aclose)
        return client

    async def _send_study(self, doctor: httpx.AsyncClient) -> str:
        """Two slices over DIMSE, linked to a resident by the EHR; the resident."""
        mark = uuid4().hex[:8]
        resident = f"R-{mark}"
        person = ct.Person(f"M-{mark}", f"Matrix^{mark}=矩^阵", "19680312", "F")
        series = await to_thread(ct.write_series, self._folder, slices=2, seed=int(mark, 16) % 10**8, person=person)
        edge = self._region.state["edges"]["community"]
        words = ["dcmsend", "-aec", edge["ae_title"], "127.0.0.1", str(edge["dimse_port"]), *map(str, series.files)]
        await to_thread(subprocess.run, words, check=True, timeout=60, capture_output=True)
        await until_listed(doctor, series.study_uid, 2)
        self._study = series.study_uid
        first = pydicom.dcmread(series.files[0], stop_before_pixels=True)
        self.values |= {"series": series.series_uid, "instance": str(first.SOPInstanceUID)}
        linked = PatientLinked(hospital="community", patient_id=f"M-{mark}", resident_id=resident, revision=1)
        await say_as_ehr(self._region, "patient-linked", linked, f"M-{mark}")

        async def listed() -> bool:
            query = {"PatientID": resident, "IssuerOfPatientID": "EHR"}
            return (await doctor.get("/dicomweb/studies", params=query)).status_code == 200

        await until(listed, "the study under its resident")
        return resident

    async def _apply(self, token: str) -> tuple[str, str]:
        """The case that opens the study to the secondary hospital's experts, and a file of it; their ids."""
        body = applications.application(studies=[applications.of_study(self._study, "community")])
        async with httpx.AsyncClient(base_url=self._region.state["consult"], timeout=30) as client:
            case = await applications.apply(client, token, body)
            headers = {"Authorization": f"Bearer {token}", "X-File-Name": "matrix.pdf"}
            kept = await client.post(f"/consults/{case['id']}/attachments", content=b"%PDF-1.7\n", headers=headers)
            kept.raise_for_status()
            return str(case["id"]), str(kept.json()["id"])

    async def _launch(self, token: str, resident: str) -> httpx.AsyncClient:
        """A window of the EHR, in a browser of its own."""
        portal = self._region.state["portal"]
        asked = {"user": "nurse.ehr", "name": "护士", "resident": resident, "purpose": "TREAT"}
        browser = await self._keep(httpx.AsyncClient(base_url=portal, timeout=30))
        bearer = {"Authorization": f"Bearer {token}"}
        code = await browser.post("/launches", json=asked, headers=bearer)
        code.raise_for_status()
        opened = await browser.post("/launch", data={"code": code.json()["code"]}, headers={"Accept": "text/html"})
        opened.raise_for_status()
        _send_secure_cookies(browser)
        return browser

    async def _share(self, doctor: httpx.AsyncClient) -> httpx.AsyncClient:
        """Somebody with a link to the study."""
        form = {"csrf": await _csrf(doctor), "ref": f"community/{self._study}", "days": "1", "note": "matrix"}
        page = await doctor.post("/portal/shares", data=form)
        link = re.search(r"/share#([A-Za-z0-9_-]+)", html.unescape(page.text))
        if link is None:
            raise RuntimeError(f"no share link was made (status {page.status_code})")
        browser = await self._keep(httpx.AsyncClient(base_url=self._region.state["portal"], timeout=30))
        opened = await browser.post("/share", data={"secret": link[1]})
        opened.raise_for_status()
        _send_secure_cookies(browser)
        return browser

    async def _break_glass(self, doctor: httpx.AsyncClient, resident: str) -> None:
        form = {
            "csrf": await _csrf(doctor),
            "resident": resident,
            "reason": "急诊抢救，家属不在场",
            "minutes": "30",
            "sure": "yes",
        }
        answer = await doctor.post("/portal/break-glass", data=form)
        if answer.status_code >= 400:
            raise RuntimeError(f"the glass was not broken (status {answer.status_code})")

    def _by_session(self, client: httpx.AsyncClient, csrf: str) -> Ask:
        """As a browser: with the form's token, HTML wanted on pages."""

        async def ask(method: str, address: str, **options: Any) -> Answer:
            accept = "*/*" if address.startswith(MACHINES) else "text/html"
            headers = {"Accept": accept, "X-CSRF-Token": csrf, "Sec-Fetch-Site": "same-origin"}
            return await self._send(client, method, address, headers, **options)

        return ask

    async def _by_token(self, base: str, token: str, **options: Any) -> Ask:
        """As a program."""
        client = await self._keep(httpx.AsyncClient(base_url=base, timeout=30, **options))
        headers = {"Authorization": f"Bearer {token}"} if token else {}

        async def ask(method: str, address: str, **options: Any) -> Answer:
            return await self._send(client, method, address, headers, **options)

        return ask

    async def _by_certificate(self, hospital: str, door: str) -> Ask:
        """As a hospital's edge agent: its token, its certificate, its AE title."""
        client = await self._keep(await edge_client(self._region.state, hospital, door=door))

        async def ask(method: str, address: str, **options: Any) -> Answer:
            return await self._send(client, method, address, {}, **options)

        return ask

    async def _send(
        self, client: httpx.AsyncClient, method: str, address: str, headers: dict[str, str], **options: Any
    ) -> Answer:
        async with client.stream(method, address, headers=headers, follow_redirects=False, **options) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                async for chunk in answer.aiter_bytes():
                    return Answer(answer.status_code, answer.headers, self._study.encode() in chunk)
            found = False
            async for chunk in answer.aiter_bytes():
                found = found or self._study.encode() in chunk
                if answer.num_bytes_downloaded > 2_000_000:
                    break
        return Answer(answer.status_code, answer.headers, found)


async def _csrf(client: httpx.AsyncClient) -> str:
    """The session's form token, from any page it may open; empty for a window of an EHR or a share link."""
    page = await client.get("/portal/notices", headers={"Accept": "text/html"})
    found = re.search(r'"X-CSRF-Token": "([^"]+)"', html.unescape(page.text))
    return found[1] if found else ""


def _send_secure_cookies(client: httpx.AsyncClient) -> None:
    """As browsers do on loopback."""
    for cookie in client.cookies.jar:
        cookie.secure = False
