"""A hospital comes into the region by one form: steps that can be done again, a file that is given once."""

import io
import zipfile
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from gateway.errors import OnboardingFailed
from gateway.operations.fakes import ADDRESSES
from gateway.operations.onboarding import BadForm, Form, Secrets, begun, bundle, configuration, read_form

OPERATOR = "operator.region"
FORM = {
    "hospital": "east", "name_zh": "城东医院", "name_en": "East Hospital", "level": "community", "tier": "central",
    "ae_title": "EAST", "ae_titles": "CT1, MR1", "callers": "CT1@10.1.2.3", "pacs_ae_title": "", "pacs_host": "",
    "pacs_port": "104", "pacs_dicomweb_url": "", "csr": "",
}  # fmt: skip
PACS = {"tier": "distributed", "pacs_ae_title": "PACS", "pacs_host": "10.1.2.4"}


@pytest.fixture
async def operator(world: Any) -> httpx.AsyncClient:
    client: httpx.AsyncClient = await world.signed_in(OPERATOR)
    return client


async def onboard(world: Any, operator: httpx.AsyncClient, **more: str) -> httpx.Response:
    answer = await operator.post("/portal/onboarding", data={**FORM, **more, "csrf": world.csrf(OPERATOR)})
    await world.portal.operations.onboard.finish()
    return answer


def files_of(answer: httpx.Response) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name.partition("/")[2]: archive.read(name).decode() for name in archive.namelist()}


async def test_hospital_is_onboarded_and_its_file_is_given_once(world: Any, operator: httpx.AsyncClient) -> None:
    assert (await onboard(world, operator)).headers["location"] == "/portal/onboarding/east"
    assert world.registry.entries["east"].name_zh == "城东医院"
    assert [done[0] for done in world.operated.centre.done] == ["topics", "principal", "client", "certificate"]
    assert world.operated.centre.done[-1] == ("certificate", "east", "EAST", "CT1", "MR1")
    assert 'data-complete="yes"' in (await operator.get("/portal/onboarding/east")).text
    data = {"csrf": world.csrf(OPERATOR)}
    answer = await operator.post("/portal/onboarding/east/file", data=data)
    assert answer.headers["cache-control"] == "no-store"
    files = files_of(answer)
    assert {"edge-agent.env", "tls/certificate.pem", "tls/key.pem", "tls/ca.pem", "README.zh.md"} <= files.keys()
    password = next(done[2] for done in world.operated.centre.done if done[0] == "principal")
    assert f"EDGE_AGENT_KAFKA_PASSWORD={password}\n" in files["edge-agent.env"]
    again = await operator.post("/portal/onboarding/east/file", data=data)
    assert (again.status_code, 'data-testid="taken"' in again.text) == (410, True)
    assert world.operated.onboardings.sealed == {}
    records = [(one.reason, one.holder, one.user) for one in world.audited if one.action == "onboard"]
    assert records[:2] == [("onboard", "east", OPERATOR), ("credentials fetched", "east", OPERATOR)]
    assert password not in " ".join(one.model_dump_json() for one in world.audited)


async def test_onboarding_goes_on_where_a_step_failed(world: Any, operator: httpx.AsyncClient) -> None:
    world.operated.centre.fail["client"] = OnboardingFailed("identity provider: 503")
    await onboard(world, operator)
    page = (await operator.get("/portal/onboarding/east")).text
    assert "identity provider: 503" in page
    data = {"csrf": world.csrf(OPERATOR)}
    assert (await operator.post("/portal/onboarding/east/file", data=data)).status_code == 410
    world.operated.centre.fail.clear()
    await operator.post("/portal/onboarding/east/resume", data=data)
    await world.portal.operations.onboard.finish()
    assert [done[0] for done in world.operated.centre.done] == ["topics", "principal", "client", "certificate"]
    assert (await operator.post("/portal/onboarding/east/file", data=data)).status_code == 200


async def test_hospital_is_refused_when_its_id_is_taken(world: Any, operator: httpx.AsyncClient) -> None:
    answer = await onboard(world, operator, hospital="community")
    assert (answer.status_code, "This id is taken" in answer.text) == (422, True)
    assert world.registry.entries["community"].name_zh == "塘桥"
    assert world.operated.centre.done == []


async def test_new_credentials_are_made_and_old_settings_stay(world: Any, operator: httpx.AsyncClient) -> None:
    data = {"csrf": world.csrf(OPERATOR), "ae_title": "COMMUNITY", "ae_titles": "CT1", "csr": ""}
    nothing = await operator.post("/portal/onboarding/community/rotate", data=data)
    assert (nothing.status_code, "Choose at least one" in nothing.text) == (422, True)
    await operator.post("/portal/onboarding/community/rotate", data={**data, "certificate": "yes", "client": "yes"})
    await world.portal.operations.onboard.finish()
    assert [done[0] for done in world.operated.centre.done] == ["client", "certificate"]
    files = files_of(await operator.post("/portal/onboarding/community/file", data=data))
    names = {line.partition("=")[0] for line in files["edge-agent.env"].splitlines()}
    new = ("OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "TLS_CA", "TLS_CERT", "TLS_KEY")
    assert names == {f"EDGE_AGENT_{name}" for name in new}
    assert "rotate: client certificate" in [one.reason for one in world.audited if one.action == "onboard"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"hospital": "East_1"}, "hospital"),
        ({"name_zh": ""}, "name_zh"),
        ({"ae_title": "A" * 17}, "ae_title"),
        ({"ae_titles": "OK, BACK\\SLASH"}, "ae_titles"),
        ({"callers": "CT1"}, "callers"),
        ({"tier": "distributed"}, "pacs_ae_title"),
        ({**PACS, "pacs_port": "70000"}, "pacs_port"),
        ({"pacs_dicomweb_url": "ftp://x"}, "pacs_dicomweb_url"),
        ({"tier": "elsewhere"}, "tier"),
    ],
)
def test_form_names_the_field_that_cannot_be_taken(change: dict[str, str], field: str) -> None:
    with pytest.raises(BadForm, match=field):
        read_form({**FORM, **change})


async def test_request_for_a_certificate_is_checked_before_anything_is_made(
    world: Any, operator: httpx.AsyncClient
) -> None:
    answer = await onboard(world, operator, csr="-----BEGIN CERTIFICATE REQUEST-----\nAAAA")
    assert (answer.status_code, world.operated.onboardings.kept) == (422, {})


def test_configuration_quotes_what_a_shell_would_read(tmp_path: Any) -> None:
    form = read_form({**FORM, **PACS, "ae_title": "EAST $(id)", "callers": "CT 1@10.1.2.3"})
    text = configuration(form, Secrets(kafka_password="a'b"), ADDRESSES, whole=True)
    assert 'EDGE_AGENT_AE_TITLE="EAST \\$(id)"' in text
    assert 'EDGE_AGENT_KAFKA_PASSWORD="a\'b"' in text
    assert "EDGE_AGENT_MOVE_AE_TITLE=" in text


def test_edge_agent_is_told_to_reach_kafka_over_tls_where_the_centre_says_so() -> None:
    form = read_form(FORM)
    plain = configuration(form, Secrets(), ADDRESSES, whole=True)
    assert "KAFKA_TLS" not in plain
    secure = configuration(form, Secrets(), ADDRESSES.model_copy(update={"kafka_tls": True}), whole=True)
    assert {"EDGE_AGENT_KAFKA_TLS=true", "EDGE_AGENT_KAFKA_CA=tls/ca.pem"} <= {
        line.replace('"', "") for line in secure.splitlines()
    }


def test_private_key_never_comes_with_the_hospitals_own_request() -> None:
    form = Form(**{**FORM, "ae_titles": [], "pacs_port": 0, "csr": "x"})
    made = begun(form, OPERATOR, datetime.now(UTC))
    archive = bundle(made, Secrets(certificate="C", authority="CA"), ADDRESSES, {})
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert not any("key.pem" in name for name in opened.namelist())
        assert all(info.external_attr >> 16 == 0o600 for info in opened.infolist())
