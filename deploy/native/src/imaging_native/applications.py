"""Complete applications for consults, and the way of a case over consult's HTTP API: for the story, faults and tests.

All of it is synthetic. A `client` has consult's address as its base; a token is a person's own.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self
from uuid import uuid4

import httpx

from imaging_native.region import Region
from imaging_native.tokens import person_token

FINDINGS = "右肺上叶见一直径约 12 mm 的结节，边缘光滑，未见胸腔积液。"
IMPRESSION = "右肺上叶结节，考虑良性可能，建议三个月后复查。"
REPORT: dict[str, Any] = {"findings": FINDINGS, "impression": IMPRESSION, "positive": True}
Case = dict[str, Any]


def application(
    *, consultant_hospital: str = "secondary", studies: Sequence[Mapping[str, str]], **changes: Any
) -> dict[str, Any]:
    """Everything that each urgency needs; `changes` replace fields."""
    return {
        "target_kind": "hospital",
        "consultant_hospital": consultant_hospital,
        "studies": [dict(study) for study in studies],
        "applicant_department": "放射科",
        "applicant_phone": "010-5550-0100",
        "chief_complaint": "体检发现右肺结节一周。",
        "history": "无咳嗽，无发热；既往体健，不吸烟。",
        "diagnoses": [{"code": "R91.1", "text": "孤立性肺结节"}],
        "examination_items": ["胸部CT平扫"],
        "purpose": "右肺结节性质待定，请协助诊断。",
        "questions": ["是否需要穿刺活检？"],
        "urgency": "routine",
        "consent": "verbal",
    } | changes


def of_study(study_uid: str, holder: str) -> dict[str, str]:
    """A study as an application names it."""
    return {"study_uid": study_uid, "holder": holder}


async def apply(client: httpx.AsyncClient, token: str, body: Mapping[str, Any]) -> Case:
    """Submit an application; the case."""
    headers = {**_bearer(token), "Idempotency-Key": uuid4().hex}
    return _case(await client.post("/consults", json=dict(body), headers=headers))


async def read(client: httpx.AsyncClient, token: str, case_id: str) -> Case:
    """The case as this person sees it now."""
    return _case(await client.get(f"/consults/{case_id}", headers=_bearer(token)))


async def act(client: httpx.AsyncClient, token: str, case: Mapping[str, Any], action: str, **told: Any) -> Case:
    """One row of the table, on the version that `case` shows; the case after it."""
    body = {"version": case["version"], **told}
    return _case(await client.post(f"/consults/{case['id']}/{action}", json=body, headers=_bearer(token)))


async def write(
    client: httpx.AsyncClient, token: str, case: Mapping[str, Any], text: Mapping[str, Any] = REPORT
) -> Case:
    """Save the report as this text; the case after it."""
    path = f"/consults/{case['id']}/report/draft"
    kept = _case(await client.get(path, headers=_bearer(token)))
    body = {"revision": kept["revision"], "text": dict(text)}
    _case(await client.put(path, json=body, headers=_bearer(token)))
    return await read(client, token, str(case["id"]))


async def to_drafted(
    client: httpx.AsyncClient, token: str, case: Mapping[str, Any], text: Mapping[str, Any] = REPORT
) -> Case:
    """The expert claims a submitted case, reads, and writes."""
    for action in ("claim", "read"):
        case = await act(client, token, case, action)
    return await write(client, token, case, text)


async def to_issued(
    client: httpx.AsyncClient, token: str, case: Mapping[str, Any], text: Mapping[str, Any] = REPORT
) -> Case:
    """From submitted to issued, by an expert whose sign-in is fresh."""
    return await act(client, token, await to_drafted(client, token, case, text), "issue")


async def to_acknowledged(client: httpx.AsyncClient, doctor: str, expert: str, body: Mapping[str, Any]) -> Case:
    """A whole case: applied for, reported, acknowledged."""
    case = await to_issued(client, expert, await apply(client, doctor, body))
    return await act(client, doctor, case, "acknowledge")


class Person:
    """Somebody of the region at work on cases: with a sign-in of their own, kept for a test's length."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self.client = client
        self.token = token

    @classmethod
    @contextlib.asynccontextmanager
    async def signed_in(cls, region: Region, user: str) -> AsyncIterator[Self]:
        """Signs in at the provider as the portal does."""
        token = await person_token(region.state, user, region.client_secret("portal"))
        async with httpx.AsyncClient(base_url=region.state["consult"], timeout=30) as client:
            yield cls(client, token)

    @property
    def headers(self) -> dict[str, str]:
        """What says who asks."""
        return _bearer(self.token)

    async def apply(self, body: Mapping[str, Any]) -> Case:
        """See `apply`."""
        return await apply(self.client, self.token, body)

    async def read(self, case_id: str) -> Case:
        """See `read`."""
        return await read(self.client, self.token, case_id)

    async def act(self, case: Mapping[str, Any], action: str, **told: Any) -> Case:
        """See `act`."""
        return await act(self.client, self.token, case, action, **told)

    async def to_issued(self, case: Mapping[str, Any], text: Mapping[str, Any] = REPORT) -> Case:
        """See `to_issued`."""
        return await to_issued(self.client, self.token, case, text)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _case(answer: httpx.Response) -> Case:
    if answer.is_error:
        raise httpx.HTTPStatusError(f"{answer.status_code} {answer.text}", request=answer.request, response=answer)
    return dict(answer.json())
