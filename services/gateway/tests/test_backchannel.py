"""The provider ends sessions (back-channel logout); edge agents show certificates at the gateway, too."""

import base64
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.model import Tokens
from gateway.usecases.sign_in import provider_ids
from imaging_common.auth import Claims
from imaging_common.events import AuditRecorded
from imaging_common.testing.peers import ShowsCertificate
from imaging_operate.certificates import RegionCa

URL = "/auth/backchannel-logout"


def id_token(sid: str, sub: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"sid": sid, "sub": sub}).encode()).rstrip(b"=").decode()
    return f"h.{payload}.s"


def audited(world: Any, action: str) -> list[tuple[str, str, str]]:
    records = [e for e in world.publisher.events("audit-recorded") if isinstance(e, AuditRecorded)]
    return [(r.user, r.outcome, r.reason) for r in records if r.action == action]


async def test_session_ends_when_the_provider_says_so(world: Any) -> None:
    exchange = world.provider.exchange

    async def with_subject(code: str, *, verifier: str, nonce: str) -> tuple[Claims, Tokens, float]:
        claims, tokens, until = await exchange(code, verifier=verifier, nonce=nonce)
        return claims, Tokens(tokens.access, tokens.refresh, id_token("", f"sub-{code}")), until

    world.provider.exchange = with_subject
    async with (
        aclosing(await world.signed_in("doctor.community")) as ended,
        aclosing(await world.signed_in("expert.secondary")) as other,
    ):
        assert (await ended.get("/portal/notices")).status_code == 200
        async with httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url="http://portal.test") as server:
            answer = await server.post(URL, data={"logout_token": "logout:sub-doctor.community"})
            assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
            again = await server.post(URL, data={"logout_token": "logout:sub-doctor.community"})
            assert again.status_code == 200
        assert (await ended.get("/portal/notices")).status_code == 303
        assert (await other.get("/portal/notices")).status_code == 200
    assert audited(world, "sign-out") == [("doctor.community", "success", "by-provider")]


@pytest.mark.parametrize("data", [{}, {"logout_token": "x"}, {"logout_token": ["logout:a", "logout:b"]}])
async def test_nothing_ends_without_a_logout_token_that_holds(world: Any, data: dict[str, Any]) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(world.app), base_url="http://portal.test") as server:
        assert (await server.post(URL, data=data)).status_code == 400
        assert (await server.post(URL, content=b"logout_token=" + b"x" * 40_000)).status_code == 413
    assert audited(world, "sign-out") == []


def test_ids_of_an_odd_id_token_are_empty() -> None:
    assert provider_ids(id_token("a", "b")) == ("a", "b")
    assert [provider_ids(text) for text in ("", "x", "a.!!.c", "a.W10.c")] == [("", "")] * 4


async def test_edge_agent_needs_its_certificate_at_the_gateway(world: Any, tmp_path: Path) -> None:
    ca = RegionCa(tmp_path)
    connection = ShowsCertificate(world.app)
    headers = {"Authorization": "Bearer bearer-edge-secondary", "X-Calling-AE": "SECONDARY"}
    transport = httpx.ASGITransport(connection)
    async with httpx.AsyncClient(transport=transport, base_url="http://portal.test", headers=headers) as edge:
        assert (await edge.get("/dicomweb/studies")).status_code == 403
        connection.show(ca.edge("community", ["SECONDARY"]).cert)
        assert (await edge.get("/dicomweb/studies")).status_code == 403
        connection.show(ca.edge("secondary", ["SECONDARY"]).cert)
        assert (await edge.get("/dicomweb/studies")).status_code in (200, 204)
        assert (await edge.get("/dicomweb/studies", headers={"X-Calling-AE": "COMMUNITY"})).status_code == 403
    reasons = [reason for _, outcome, reason in audited(world, "search") if outcome == "denied"]
    assert reasons == ["no-certificate", "certificate-of-another-hospital", "ae-title-not-in-certificate"]
