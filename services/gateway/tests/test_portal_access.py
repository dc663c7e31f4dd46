"""Who gets in: deny by default on every route, sign-in, forms from elsewhere, tokens, grants, live events."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from gateway.api.guard import is_public, safe_path, sign_in_path
from gateway.cases import CaseGrant, grant_of, opened_by
from gateway.model import tells
from gateway.usecases.apply_grant import apply_grant
from gateway.usecases.authenticate import digest
from imaging_common.access import StudyRef, Subject
from imaging_common.events import (
    ConsultAcknowledged,
    ConsultSubmitted,
    NoticeRaised,
    ReportIssued,
    StudyChanged,
    Version,
)
from imaging_common.testing.peers import ShowsCertificate
from imaging_operate.certificates import RegionCa

PUBLIC = {
    "/health/live", "/health/ready", "/metrics", "/auth/login", "/auth/callback", "/portal/welcome",
    "/portal/language/{language}", "/portal/static/{fingerprint}/{name:path}", "/favicon.ico",
    "/fhir/R4/metadata", "/auth/backchannel-logout", "/launch", "/launch/here", "/share", "/smart/launch",
    "/smart/callback", "/verify/{code}",
}  # fmt: skip
EXAMPLES = {
    "{consult_id}": "c1", "{action}": "accept", "{holder}": "community", "{study}": "1.2.3", "{path:path}": "viewer",
    "{language}": "en", "{fingerprint}": "0", "{name:path}": "portal.css",
}  # fmt: skip
DOCTOR = Subject("doctor.community", "community", frozenset({"doctor"}))
EXPERT = Subject("expert.secondary", "secondary", frozenset({"expert"}))


def routes_of(app: Any) -> list[tuple[str, str]]:
    """Every (method, path template)."""
    found = []
    queue = list(app.routes)
    while queue:
        route = queue.pop()
        inner = getattr(route, "effective_route_contexts", None)
        if isinstance(route, APIRoute) or hasattr(route, "methods"):
            found += [(method, route.path) for method in sorted(route.methods or ())]
        elif inner is not None:
            queue += list(inner())
        else:
            queue += list(getattr(route, "routes", ()) or ())
    return found


def filled(template: str) -> str:
    for name, value in EXAMPLES.items():
        template = template.replace(name, value)
    while "{" in template:
        head, _, tail = template.partition("{")
        template = head + "1" + tail.partition("}")[2]
    return template


async def test_every_route_needs_a_sign_in_unless_listed(world: Any) -> None:
    routes = routes_of(world.app)
    paths = {path for _, path in routes}
    assert {"/portal/studies", "/auth/logout", "/{path:path}", "/dicomweb/studies"} <= paths
    assert paths >= PUBLIC
    async with world.browser() as browser:
        for method, path in routes:
            if path in PUBLIC:
                assert is_public(filled(path)), path
                continue
            answer = await browser.request(method, filled(path), headers={"Content-Length": "0"})
            refused = answer.status_code == 401 or (
                answer.status_code == 303 and answer.headers["location"].startswith(("/auth/login", "/portal/welcome"))
            )
            assert refused, f"{method} {path}: {answer.status_code}"


async def test_every_change_needs_the_form_token(world: Any) -> None:
    browser = await world.signed_in()
    for method, path in routes_of(world.app):
        if method in ("GET", "HEAD", "OPTIONS") or path.startswith(("/dicomweb", "/fhir")) or path in PUBLIC:
            continue
        answer = await browser.request(method, filled(path), data={"version": "1"})
        assert answer.status_code == 403, f"{method} {path}: {answer.status_code}"


async def test_change_from_another_site_is_refused_even_with_the_token(world: Any) -> None:
    browser = await world.signed_in()
    for header in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        answer = await browser.post("/portal/studies/search", data={"csrf": world.csrf()}, headers=header)
        assert answer.status_code == 403


async def test_oversized_form_is_refused(world: Any) -> None:
    browser = await world.signed_in()
    assert (await browser.post("/portal/studies/search", content=b"a" * 1_000_001)).status_code == 413


async def test_sign_in_sets_an_opaque_http_only_cookie_and_stores_its_digest(world: Any) -> None:
    browser = await world.signed_in()
    (cookie,) = [c for c in browser.cookies.jar if c.name.startswith("portal")]
    assert len(cookie.value or "") == 43
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert list(world.sessions.sessions) == [digest(cookie.value or "")]
    assert world.audited[-1].action == "sign-in"


async def test_sign_in_is_refused_when_another_browser_began_it(world: Any) -> None:
    async with world.browser() as attacker, world.browser() as victim:
        begun = await attacker.get("/auth/login")
        state = httpx.URL(begun.headers["location"]).params["state"]
        answer = await victim.get("/auth/callback", params={"state": state, "code": "doctor.community"})
    assert answer.status_code == 400
    assert world.sessions.sessions == {}
    assert (world.audited[-1].action, world.audited[-1].outcome) == ("sign-in", "denied")


async def test_sign_in_answer_works_once(world: Any) -> None:
    async with world.browser() as browser:
        begun = await browser.get("/auth/login")
        params = {"state": httpx.URL(begun.headers["location"]).params["state"], "code": "doctor.community"}
        assert (await browser.get("/auth/callback", params=params)).status_code == 303
        assert (await browser.get("/auth/callback", params=params)).status_code == 400


async def test_sign_out_ends_the_session_and_hands_over_to_the_provider_by_post(world: Any) -> None:
    browser = await world.signed_in()
    page = await browser.post("/auth/logout", data={"csrf": world.csrf()})
    assert 'action="https://id.example/logout"' in page.text
    assert "form-action 'self' https://id.example" in page.headers["content-security-policy"]
    assert world.sessions.sessions == {}
    assert (await browser.get("/portal/studies")).status_code == 303
    assert world.audited[-1].action == "sign-out"


async def test_expired_access_token_is_renewed_once_for_many_requests(world: Any) -> None:
    browser = await world.signed_in()
    (session,) = world.sessions.sessions.values()
    session.access_expires_at = 0
    answers = await asyncio.gather(*(browser.get("/portal/notices") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert world.provider.refreshes == 1


async def test_session_ends_when_the_provider_ended_it(world: Any) -> None:
    browser = await world.signed_in()
    (session,) = world.sessions.sessions.values()
    session.access_expires_at, world.provider.ended = 0, True
    assert (await browser.get("/portal/notices")).status_code == 303
    assert world.sessions.sessions == {}


async def test_bearer_token_opens_dicomweb_only(world: Any) -> None:
    world.add_study("1.2.3")
    async with world.browser(Accept="application/dicom+json") as program:
        program.headers["Authorization"] = "Bearer bearer-doctor.community"
        found = await program.get("/dicomweb/studies")
        assert [row["0020000D"]["Value"] for row in found.json()] == [["1.2.3"]]
        assert (await program.get("/portal/studies", headers={"Accept": "*/*"})).status_code == 401
        program.headers["Authorization"] = "Bearer forged"
        assert (await program.get("/dicomweb/studies")).status_code == 401


async def test_edge_agent_sees_what_a_case_allows_workstations_while_it_is_open(world: Any, tmp_path: Path) -> None:
    world.add_study("1.2.3")
    world.add_study("9.9.9", holder="secondary")
    secured = ShowsCertificate(world.app, RegionCa(tmp_path).edge("secondary", ["SECONDARY"]).cert)
    async with world.browser(secured, Accept="application/dicom+json") as program:
        program.headers.update({"Authorization": "Bearer bearer-edge-secondary", "X-Calling-AE": "SECONDARY"})

        async def seen() -> list[str]:
            world.portal.authenticator.forget_subjects()
            return sorted(row["0020000D"]["Value"][0] for row in (await program.get("/dicomweb/studies")).json())

        allowed = CaseGrant(
            consult_id="c1", version=Version(epoch=1, n=1), open=True, applicant="doctor.community", workstation=False,
            applicant_hospital="community", consultant_hospital="secondary", studies=[StudyRef("1.2.3", "community")],
        )  # fmt: skip
        await world.grants.put(allowed)
        assert await seen() == ["9.9.9"]
        await world.grants.put(allowed.model_copy(update={"version": Version(epoch=1, n=2), "workstation": True}))
        assert await seen() == ["1.2.3", "9.9.9"]
        await world.grants.put(allowed.model_copy(update={"version": Version(epoch=1, n=3), "open": False}))
        assert await seen() == ["9.9.9"]


async def test_account_without_image_role_is_told_so(world: Any) -> None:
    browser = await world.signed_in("auditor.region")
    for path in ("/portal/studies", "/viewer", "/portal/apply"):
        page = await browser.get(path)
        assert page.status_code == 403
        assert 'data-error="error.no-role"' in page.text


async def test_redirects_carry_no_personal_data_and_stay_here(world: Any) -> None:
    async with world.browser() as browser:
        answer = await browser.get("/viewer", params={"StudyInstanceUIDs": "1.2.3"})
        assert "StudyInstanceUIDs" in answer.headers["location"]
        answer = await browser.get("/portal/studies", params={"words": "张伟"})
        assert answer.headers["location"] == "/auth/login?next=%2Fportal%2Fstudies"
    for evil in ("//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", ""):
        assert safe_path(evil) == "/portal/home"
    assert sign_in_path("/portal/x") == "/auth/login?next=%2Fportal%2Fx"


async def test_security_headers_are_on_every_answer(world: Any) -> None:
    async with world.browser() as browser:
        for path in ("/portal/welcome", "/portal/studies", "/health/live", "/dicomweb/studies"):
            headers = (await browser.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert "content-security-policy" in headers


async def test_a_second_copy_knows_the_session(world: Any) -> None:
    browser = await world.signed_in()
    async with world.browser(world.build()) as other:
        other.cookies = browser.cookies
        assert (await other.get("/portal/notices")).status_code == 200


def submitted(version: int = 1, holder: str = "community", event: type = ConsultSubmitted, **more: Any) -> Any:
    return event(
        consult_id="c1", number="C-1", version=Version(epoch=0, n=version), state="x", applicant="doctor.community",
        applicant_hospital="community", consultant_hospital="secondary",
        studies=[{"study_uid": "1.2.3", "holder": holder}], at=datetime.now(UTC), **more,
    )  # fmt: skip


async def test_consult_opens_its_studies_to_the_expert_until_it_ends(world: Any) -> None:
    world.add_study("1.2.3")
    expert = await world.signed_in("expert.secondary")
    assert "1.2.3" not in (await expert.get("/portal/studies")).text
    await apply_grant(world.grants, submitted())
    world.portal.authenticator.forget_subjects()
    assert "1.2.3" in (await expert.get("/portal/studies")).text
    await apply_grant(world.grants, submitted(3, event=ConsultAcknowledged))
    world.portal.authenticator.forget_subjects()
    assert "1.2.3" not in (await expert.get("/portal/studies")).text


async def test_late_event_does_not_reopen_an_ended_case(world: Any) -> None:
    assert await apply_grant(world.grants, submitted(3, event=ConsultAcknowledged))
    assert not await apply_grant(world.grants, submitted(1))
    assert not world.grants.cases["c1"].open


def test_case_grants_nothing_its_applicant_may_not_see() -> None:
    foreign = grant_of(submitted(holder="secondary"))
    assert opened_by(foreign, {}) == []
    assert len(opened_by(grant_of(submitted()), {})) == 1


def test_pages_are_told_only_what_concerns_their_user() -> None:
    changed = StudyChanged(
        study_uid="1.2.3", holder="community", version=Version(epoch=0, n=1), tier="central", announced=True,
        settled=False, stored=False, series_count=1, instance_count=1, announced_count=1, stored_count=0,
        changed_at=datetime.now(UTC),
    )  # fmt: skip
    assert tells(DOCTOR, changed) == ["studies"]
    assert tells(EXPERT, changed) == []
    issued = submitted(event=ReportIssued, report_id="r", report_version=1)
    assert tells(DOCTOR, issued) == ["consults", "consult-c1"]
    assert tells(Subject("x", "tertiary", frozenset({"expert"})), issued) == []
    notice = NoticeRaised(
        notice_id="1",
        recipient="hospital:secondary:expert",
        kind="k",
        number="n",
        link="/",
        raised_at=datetime.now(UTC),
    )
    assert (tells(EXPERT, notice), tells(DOCTOR, notice)) == (["notices"], [])


async def test_live_listener_gets_each_name_once_and_is_bounded(world: Any) -> None:
    async def subject() -> Subject:
        return DOCTOR

    async with world.live.listen(subject) as listener:
        assert await listener.next() == ["resync"]
        for _ in range(3):
            await world.live.publish(submitted())
        assert await listener.next() == ["consults", "consult-c1"]
        listener.tell([str(number) for number in range(1000)])
        assert await listener.next() == ["resync"]


@pytest.mark.parametrize("path", ["/portal/studies/../../metrics", "/portal/static/../studies", "/portal/staticx"])
async def test_public_prefixes_do_not_leak(world: Any, path: str) -> None:
    async with world.browser() as browser:
        assert (await browser.get(path)).status_code in (303, 401, 404, 200 if path.endswith("metrics") else 404)
