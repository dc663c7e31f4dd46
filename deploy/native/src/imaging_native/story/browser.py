"""People at real browsers: Debian's Chromium, driven by Playwright, one context a person."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, Frame, Page, Playwright, async_playwright, expect

DEADLINE_MS = 60_000
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=swiftshader",
    "--enable-unsafe-swiftshader",
]
expect.set_options(timeout=DEADLINE_MS)
DRAWN = """() => [...document.querySelectorAll('canvas')].some(canvas => {
    if (canvas.width < 100 || canvas.height < 100) return false;
    const copy = document.createElement('canvas');
    copy.width = 64; copy.height = 64;
    const context = copy.getContext('2d');
    context.drawImage(canvas, 0, 0, 64, 64);
    const pixels = context.getImageData(0, 0, 64, 64).data;
    const shades = new Set();
    for (let i = 0; i < pixels.length; i += 4) shades.add(pixels[i]);
    return shades.size > 8;
})"""
"""Whether a canvas of the page shows an image: more than eight shades of grey."""


def map_hosts(hosts: Mapping[str, str]) -> list[str]:
    """The arguments with which Chromium finds these names at other machines; it looks for `*.localhost` at its own."""
    rules = ",".join(f"MAP {name} {machine}" for name, machine in hosts.items())
    return [f"--host-resolver-rules={rules}"] if rules else []


def trust_origins(origins: str) -> list[str]:
    """The arguments with which Chromium keeps `Secure` cookies of these addresses although they have no TLS."""
    return [f"--unsafely-treat-insecure-origin-as-secure={origins}"] if origins else []


class Browser:
    """One headless Chromium; screenshots go to `pictures`."""

    def __init__(self, pictures: Path | None, *arguments: str) -> None:
        self._pictures = pictures
        self._arguments = [*ARGUMENTS, *arguments]
        self._playwright: Playwright
        self._chromium: Chromium
        self._people: list[Person] = []

    async def __aenter__(self) -> Self:
        program = shutil.which("chromium")
        if program is None:
            raise RuntimeError("chromium is not installed: run `make deps`")
        self._playwright = await async_playwright().start()
        self._chromium = await self._playwright.chromium.launch(executable_path=program, args=self._arguments)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._chromium.close()
        await self._playwright.stop()

    async def new_context(self) -> BrowserContext:
        """A person's own cookies and pages."""
        context = await self._chromium.new_context(locale="zh-CN", viewport={"width": 1600, "height": 1000})
        context.set_default_timeout(DEADLINE_MS)
        return context

    def add(self, person: "Person") -> None:
        """Remember a person, for pictures of what they saw when a step fails."""
        self._people.append(person)

    async def picture(self, page: Page, name: str) -> None:
        """Take a screenshot, where a folder for them was given."""
        if self._pictures is not None:
            self._pictures.mkdir(parents=True, exist_ok=True)
            await page.screenshot(path=str(self._pictures / f"{name}.png"))

    async def picture_all(self, name: str) -> None:
        """Take a screenshot of every person's page."""
        for person in self._people:
            for number, page in enumerate(person.context.pages):
                await self.picture(page, f"{name}-{person.user}-{number}")


class Person:
    """Somebody with a browser of their own and an account at the region's Keycloak."""

    def __init__(self, browser: Browser, context: BrowserContext, page: Page, state: dict[str, Any], user: str) -> None:
        self.browser, self.context, self.page, self.user = browser, context, page, user
        self.portal: str = state["portal"]
        self._password: str = state["users"][user]["password"]

    @classmethod
    async def at(cls, browser: Browser, state: dict[str, Any], user: str) -> Self:
        """A person who has not signed in yet."""
        context = await browser.new_context()
        person = cls(browser, context, await context.new_page(), state, user)
        browser.add(person)
        return person

    async def sign_in(self) -> None:
        """Open the portal, sign in at Keycloak's form, and land on the start page."""
        await self.page.goto(f"{self.portal}/auth/login")
        await self.page.fill("#username", self.user)
        await self.page.fill("#password", self._password)
        await self.page.click("#kc-login")
        await self.page.wait_for_url(f"{self.portal}/portal**")
        await self.picture(f"home-{self.user}")

    async def prove_again(self, page: Page | None = None) -> None:
        """Answer Keycloak's form that asks who is about to sign, and come back to the portal."""
        where = page or self.page
        await where.wait_for_selector("#password")
        if await where.locator("#username").is_visible():
            await where.fill("#username", self.user)
        await where.fill("#password", self._password)
        await where.click("#kc-login")
        await where.wait_for_url(f"{self.portal}/portal/**")

    async def cookies(self) -> dict[str, str]:
        """The portal's cookies of this person's session."""
        return {c["name"]: c["value"] for c in await self.context.cookies(self.portal) if "name" in c and "value" in c}

    async def picture(self, name: str) -> None:
        """Take a screenshot of the person's page."""
        await self.browser.picture(self.page, name)

    async def open_study(self, study_uid: str, picture: str) -> None:
        """Open the study from the list in OHIF, in a tab of its own, and wait until an image is drawn."""
        await self.page.goto(f"{self.portal}/portal/studies")
        link = self.page.locator(f'[data-testid="view-study"][href*="{study_uid}"]')
        await expect(link).to_be_visible(timeout=DEADLINE_MS)
        viewer = await self.context.new_page()
        await viewer.goto(self.portal + str(await link.get_attribute("href")))
        await self.wait_until_drawn(viewer)
        await self.browser.picture(viewer, picture)
        await viewer.close()

    @staticmethod
    async def wait_until_drawn(where: Page | Frame) -> None:
        """Wait until a canvas shows an image."""
        await where.wait_for_function(DRAWN, timeout=DEADLINE_MS)
