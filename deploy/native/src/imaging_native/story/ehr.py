"""The residents' EHR: a plain Kafka consumer with its own credentials on its own topic, and its page in a browser."""

import asyncio
import json
import ssl
from types import TracebackType
from typing import Any, Self

import httpx
from aiokafka import AIOKafkaConsumer
from playwright.async_api import Page, expect

from imaging_native.story.browser import DEADLINE_MS, Browser, Person

DEADLINE_SECONDS = 120


class EhrSubscriber:
    """Reads `ehr-residents-events` from the beginning and keeps what it read."""

    def __init__(self, state: dict[str, Any]) -> None:
        kafka = state["kafka"]
        secure = ssl.create_default_context(cafile=kafka["ca"]) if kafka.get("ca") else None
        self._consumer = AIOKafkaConsumer(
            "ehr-residents-events",
            bootstrap_servers=kafka["bootstrap"],
            security_protocol="SASL_SSL" if secure else "SASL_PLAINTEXT",
            ssl_context=secure,
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username="ehr-residents",
            sasl_plain_password=kafka["users"]["ehr-residents"],
            group_id="ehr-residents",
            auto_offset_reset="earliest",
        )
        self.events: list[tuple[str, dict[str, Any]]] = []

    async def __aenter__(self) -> Self:
        await asyncio.wait_for(self._consumer.start(), 30)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._consumer.stop()

    async def study_changes(self, study_uid: str, instances: int) -> str:
        """Wait until the study is announced, settled and stored with all instances; versions only grow."""

        def seen() -> list[dict[str, Any]]:
            return [d for kind, d in self.events if kind == "StudyChanged" and d["study_uid"] == study_uid]

        def complete(change: dict[str, Any]) -> bool:
            return bool(change["announced"] and change["settled"] and change["stored"])

        await self._until(lambda: any(complete(change) and change["stored_count"] == instances for change in seen()))
        changes = seen()
        versions = [(change["version"]["epoch"], change["version"]["n"]) for change in changes]
        if versions != sorted(versions):
            raise AssertionError(f"versions of StudyChanged went back: {versions}")
        first = {
            name: next(i for i, change in enumerate(changes) if change[name])
            for name in ("announced", "settled", "stored")
        }
        if not first["announced"] <= first["settled"] <= first["stored"]:
            raise AssertionError(f"states came out of order: {first}")
        return f"announced, settled, stored in {len(changes)} statements, {instances} instances"

    async def report_issued(self) -> str:
        """Wait for `ReportIssued`."""
        await self._until(lambda: any(kind == "ReportIssued" for kind, _ in self.events))
        report = next(data for kind, data in self.events if kind == "ReportIssued")
        return f"consult {report['number']}, report version {report['report_version']}"

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                record = await self._consumer.getone()
                headers = dict(record.headers)
                self.events.append((headers["ce_type"].decode(), json.loads(record.value)))


class EhrPage:
    """The EHR stand-in as somebody uses it: a resident's record, and the images in its frame."""

    def __init__(self, state: dict[str, Any], page: Page, browser: Browser) -> None:
        self.url: str = state["ehr"]["url"]
        self.page = page
        self._browser = browser

    async def create(self, resident: str, name: str) -> None:
        """A new record."""
        await self.page.goto(self.url)
        await self.page.click(".new summary")
        form = self.page.locator(".new form")
        await form.locator('[name="id"]').fill(resident)
        await form.locator('[name="name"]').fill(name)
        await form.locator('[name="birth_date"]').fill("1970-06-01")
        await form.locator("button").click()
        await self.page.wait_for_url(f"{self.url}/residents/{resident}")

    async def show(self, resident: str) -> None:
        """A record that is there."""
        await self.page.goto(f"{self.url}/residents/{resident}")

    async def link(self, hospital: str, patient_id: str) -> None:
        """Say who a hospital's patient is, and wait until the page listens."""
        form = self.page.locator(".links form")
        await form.locator('[name="hospital"]').select_option(hospital)
        await form.locator('[name="patient_id"]').fill(patient_id)
        await form.locator("button").click()
        await expect(self.page.locator(".links li", has_text=patient_id)).to_have_count(1)
        await expect(self.page.locator("[data-connected]")).to_be_visible(timeout=DEADLINE_MS)

    async def study_appears(self, study_uid: str, images: int) -> None:
        """The page shows the study with all its images, by itself; its report may be among them already."""
        numbers = ", ".join(f'[data-images="{number}"]' for number in (images, images + 1))
        row = self.page.locator(f'#record [data-study="{study_uid}"]:is({numbers})')
        await expect(row).to_be_visible(timeout=DEADLINE_MS)

    async def ask_for_images(self, study_uid: str) -> None:
        """Click on the study's button."""
        await self.page.click(f'#record [data-study="{study_uid}"] [data-testid="ehr-open"]')

    async def open_images(self, study_uid: str) -> None:
        """Open the study in the page's frame, and wait until an image is drawn."""
        await self.ask_for_images(study_uid)
        await self.pixels()

    async def pixels(self) -> None:
        """Wait until the frame shows an image."""
        handle = await self.page.locator('[data-testid="ehr-frame"]').element_handle()
        frame = await handle.content_frame()
        assert frame is not None
        await frame.wait_for_url("**/viewer?**", timeout=DEADLINE_MS)
        await Person.wait_until_drawn(frame)

    async def picture(self, name: str) -> None:
        """Take a screenshot."""
        await self._browser.picture(self.page, name)


async def token_of(state: dict[str, Any], client: httpx.AsyncClient) -> str:
    """An access token of the EHR's own account."""
    form = {"grant_type": "client_credentials", "client_id": state["ehr"]["client_id"],
            "client_secret": state["ehr"]["client_secret"]}  # fmt: skip
    answer = await client.post(f"{state['issuer']}/protocol/openid-connect/token", data=form)
    answer.raise_for_status()
    return str(answer.json()["access_token"])
