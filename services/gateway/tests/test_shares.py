"""Share links: the secret is in the fragment and stored as a digest; counted, expiring, taken back at once."""

import re
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

JSON = {"Accept": "application/dicom+json"}
FORM = {"ref": "community/1.2.3", "days": "7", "note": "给外院李医生会诊", "max_opens": "", "whole": ""}


@pytest.fixture
def shared(world: Any) -> Any:
    """Two studies of one resident, one of them of another hospital."""
    world.add_study("1.2.3", "community", resident_id="R-1")
    world.add_study("1.2.4", "secondary", resident_id="R-1")
    return world


async def make(world: Any, doctor: httpx.AsyncClient, **more: str) -> str:
    """A new link's secret, as its page shows it once."""
    page = await doctor.post("/portal/shares", data={**FORM, "csrf": world.csrf(), **more})
    assert page.status_code == 201, page.text
    secret = re.search(r"http://portal\.test/share#([A-Za-z0-9_-]{43})", page.text)
    assert secret is not None
    return secret.group(1)


async def test_link_opens_its_study_in_the_viewer_and_nothing_else(shared: Any) -> None:
    async with aclosing(await shared.signed_in()) as doctor, shared.browser() as guest:
        secret = await make(shared, doctor)
        assert secret not in (await doctor.get("/portal/shares")).text
        (grant,) = shared.access_grants.grants.values()
        assert secret not in grant.model_dump_json()
        opened = await guest.post("/share", data={"secret": secret})
        assert opened.json()["next"].startswith("/viewer?StudyInstanceUIDs=1.2.3")
        assert (await guest.get(opened.json()["next"])).status_code == 200
        assert (await guest.get("/dicomweb/studies/1.2.3/series", headers=JSON)).status_code == 204
        assert (await guest.get("/dicomweb/studies/1.2.4/series", headers=JSON)).status_code == 404
        assert (await guest.get("/portal/studies")).status_code == 403
        row = (await doctor.get("/portal/shares")).text
    assert 'data-opens="1"' in row
    opens = [record for record in shared.audited if record.action == "share"]
    assert [(r.reason, r.user, r.grant_id) for r in opens] == [
        ("created", "doctor.community", grant.grant_id),
        ("opened", f"share-{grant.grant_id[:8]}", grant.grant_id),
    ]
    assert {r.reason for r in shared.audited if r.action == "view" and r.outcome == "success"} <= {"share-link"}


async def test_revoked_link_ends_its_windows_too(shared: Any) -> None:
    async with aclosing(await shared.signed_in()) as doctor, shared.browser() as guest:
        secret = await make(shared, doctor)
        await guest.post("/share", data={"secret": secret})
        (grant,) = shared.access_grants.grants.values()
        assert (
            await doctor.post(f"/portal/shares/{grant.grant_id}/revoke", data={"csrf": shared.csrf()})
        ).status_code == 303
        assert (await guest.get("/dicomweb/studies/1.2.3/series", headers=JSON)).status_code == 401
        again = await guest.post("/share", data={"secret": secret})
    assert (again.status_code, again.json()) == (410, {"problem": "shares.revoked"})
    assert shared.audited[-1].reason == "share-ended"
    assert len(shared.sessions.sessions) == 1


async def test_link_is_refused_when_expired_used_up_or_wrong(shared: Any) -> None:
    async with aclosing(await shared.signed_in()) as doctor, shared.browser() as guest:
        secret = await make(shared, doctor, max_opens="1")
        assert (await guest.post("/share", data={"secret": secret})).status_code == 200
        assert (await guest.post("/share", data={"secret": secret})).json() == {"problem": "shares.used-up"}
        secret = await make(shared, doctor)
        grant = list(shared.access_grants.grants.values())[-1]
        past = datetime.now(UTC) - timedelta(seconds=1)
        shared.access_grants.grants[grant.grant_id] = grant.model_copy(update={"until": past})
        assert (await guest.post("/share", data={"secret": secret})).json() == {"problem": "shares.expired"}
        for _ in range(30):
            wrong = await guest.post("/share", data={"secret": "x" * 43})
        assert (wrong.status_code, wrong.json()) == (429, {"problem": "shares.too-often"})


async def test_whole_resident_is_what_the_maker_may_pass_on(shared: Any) -> None:
    async with aclosing(await shared.signed_in()) as doctor:
        await make(shared, doctor, whole="yes")
    (grant,) = shared.access_grants.grants.values()
    assert (grant.resident_id, [study.holder for study in grant.studies]) == (None, ["community"])


async def test_what_one_sees_by_broken_glass_cannot_be_passed_on(shared: Any) -> None:
    async with aclosing(await shared.signed_in()) as doctor:
        glass = {
            "resident": "R-1",
            "reason": "急诊需要既往影像资料",
            "minutes": "10",
            "sure": "yes",
            "csrf": shared.csrf(),
        }
        await doctor.post("/portal/break-glass", data=glass)
        refused = await doctor.post("/portal/shares", data={**FORM, "ref": "secondary/1.2.4", "csrf": shared.csrf()})
        assert refused.status_code == 422
        assert (await doctor.get("/portal/shares?ref=secondary/1.2.4")).status_code == 404


async def test_link_joins_the_session_of_who_is_signed_in(shared: Any) -> None:
    async with (
        aclosing(await shared.signed_in()) as doctor,
        aclosing(await shared.signed_in("expert.secondary")) as expert,
    ):
        secret = await make(shared, doctor)
        await expert.post("/share", data={"secret": secret})
        assert (await expert.get("/dicomweb/studies/1.2.3/series", headers=JSON)).status_code == 204
        assert (await expert.get("/portal/studies")).status_code == 200
    assert shared.audited[-1].user == "expert.secondary"


async def test_links_of_others_are_neither_seen_nor_revoked(shared: Any) -> None:
    async with (
        aclosing(await shared.signed_in()) as doctor,
        aclosing(await shared.signed_in("expert.secondary")) as expert,
    ):
        await make(shared, doctor)
        (grant,) = shared.access_grants.grants.values()
        csrf = {"csrf": shared.csrf("expert.secondary")}
        assert (await expert.post(f"/portal/shares/{grant.grant_id}/revoke", data=csrf)).status_code == 404
        assert 'data-testid="share-row"' not in (await expert.get("/portal/shares")).text
