"""What studies are, as the gateway's search tells it: marks left out, and nothing where it does not answer."""

from typing import Any

import httpx

from consult.adapters.gateway_studies import GatewayStudies
from consult.model import Study
from consult.ports import Facts

STUDIES = [Study(study_uid="1.2.3", holder="community"), Study(study_uid="1.2.4", holder="tcm")]


def series(modality: str, body_part: str | None) -> dict[str, Any]:
    part = {"00180015": {"vr": "CS", "Value": [body_part]}} if body_part else {"00180015": {"vr": "CS"}}
    return {"00080060": {"vr": "CS", "Value": [modality]}, **part}


def gateway(answer: httpx.Response | Exception, asked: list[httpx.Request]) -> GatewayStudies:
    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return GatewayStudies(httpx.AsyncClient(transport=httpx.MockTransport(handle)), "http://gateway/dicomweb/")


async def test_facts_are_those_of_the_images() -> None:
    asked: list[httpx.Request] = []
    found = [series("CT", "CHEST"), series("CT", None), series("MR", "BRAIN"), series("SR", "KNEE")]
    facts = await gateway(httpx.Response(200, json=found), asked).facts("token", STUDIES)
    assert facts == Facts(frozenset({"CT", "MR"}), frozenset({"CHEST", "BRAIN"}))
    (request,) = asked
    assert request.url.path == "/dicomweb/series"
    assert dict(request.url.params) == {"StudyInstanceUID": "1.2.3,1.2.4", "limit": "1000", "includefield": "00180015"}
    assert request.headers["authorization"] == "Bearer token"


async def test_application_does_not_fail_for_facts_that_cannot_be_asked() -> None:
    for answer in (httpx.ConnectError("refused"), httpx.Response(503), httpx.Response(200, text="no json")):
        assert await gateway(answer, []).facts("token", STUDIES) == Facts()
    assert await gateway(httpx.Response(204), []).facts("token", STUDIES) == Facts()
