"""Every page of the portal, looked at: axe finds nothing serious, nothing is wider than the screen, in both languages,
on a laptop and on a 4K diagnostic screen. Screenshots go to `PICTURES`, else to pytest's folder."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page as Tab
from playwright.async_api import expect
from pydantic import SecretStr

from gateway.main import build_app
from gateway.settings import GatewaySettings
from imaging_native import ct
from imaging_native.fetch import fetch_axe
from imaging_native.region import Region
from imaging_native.story.browser import DEADLINE_MS, Browser, Person
from imaging_native.story.consult import ConsultScene
from imaging_native.story.images import ImageScene

from .pages import DOCTOR, EXPERT, NO_PAGES, PAGES, PARTS, Page, World

SIZES = ((1440, 900), (3840, 2160))
LANGUAGES = ("zh", "en")
SERIOUS = {"serious", "critical"}
AXE_RUN = "() => axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)"
TOO_WIDE = "() => document.documentElement.scrollWidth > window.innerWidth + 1"


def test_every_page_is_listed() -> None:
    app = build_app(GatewaySettings(session_secret=SecretStr("x" * 32)))
    routes = set(paths_of(app.routes))
    shown = {path for path in routes if path.startswith("/portal") and path.rsplit("/", 1)[1] not in PARTS}
    assert shown - NO_PAGES - {page.route for page in PAGES} == set(), "add them to tests/browser/pages.py"
    assert {page.route for page in PAGES} <= routes


def paths_of(routes: Iterable[Any]) -> Iterator[str]:
    """Every path that is read, below included routers too."""
    for route in routes:
        inner = getattr(route, "effective_route_contexts", None)
        if hasattr(route, "methods"):
            yield from [route.path] if "GET" in (route.methods or ()) else []
        else:
            yield from paths_of(inner() if inner else getattr(route, "routes", None) or ())


class People:
    """Everybody whose pages are looked at, signed in once."""

    def __init__(self, browser: Browser, region: Region) -> None:
        self._browser = browser
        self._region = region
        self._known: dict[str, Person] = {}

    async def get(self, user: str) -> Person:
        """Somebody, signed in; nobody for an empty name."""
        if user not in self._known:
            state = self._region.state
            person = await Person.at(self._browser, state, user or DOCTOR)
            if user:
                await person.sign_in()
            self._known[user] = person
        return self._known[user]


@pytest.fixture(scope="module")
async def people(region: Region) -> AsyncIterator[People]:
    """A Chromium with everybody in it."""
    expect.set_options(timeout=DEADLINE_MS)
    async with Browser(None) as browser:
        yield People(browser, region)


@pytest.fixture(scope="module")
async def world(region: Region, people: People, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two studies of one patient of the community hospital, and a case about one."""
    studies = []
    for _ in range(2):
        folder = tmp_path_factory.mktemp("pages")
        series = await asyncio.to_thread(ct.write_series, folder, slices=4, seed=secrets.randbelow(10**9))
        scene = ImageScene(region.state, folder, 4)
        try:
            await scene.dcmsend(series.files)
        finally:
            await scene.aclose()
        studies.append(series.study_uid)
    doctor = await people.get(DOCTOR)
    consult = ConsultScene(doctor, await people.get(EXPERT), studies[1])
    await consult.apply()
    return World(studies[1], studies[0], doctor.page.url.removeprefix(doctor.portal))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go."""
    folder = Path(os.environ["PICTURES"]) if "PICTURES" in os.environ else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's script."""
    return fetch_axe().read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_page_is_accessible_and_fits_the_screen(
    people: People, world: World, pictures: Path, axe: str, page: Page
) -> None:
    person = await people.get(page.user)
    address = person.portal + await page.open(person, world)
    tab = person.page
    await tab.emulate_media(color_scheme="light", reduced_motion="reduce")
    for language in LANGUAGES:
        await tab.goto(f"{person.portal}/portal/language/{language}?next=/favicon.ico")
        for width, height in SIZES:
            await tab.set_viewport_size({"width": width, "height": height})
            answer = await tab.goto(address)
            assert answer is not None
            assert answer.status == page.status
            await expect(tab.locator(page.ready).first).to_be_visible()
            assert await tab.locator("html").get_attribute("lang") == {"zh": "zh-CN", "en": "en"}[language]
            await settled(tab)
            await tab.screenshot(path=str(pictures / f"{page.name}-{language}-{width}x{height}.png"))
            assert not await tab.evaluate(TOO_WIDE), f"{page.name} is wider than {width}"
    for scheme in ("light", "dark"):
        await tab.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
        await tab.goto(address)
        await settled(tab)
        await tab.evaluate(axe)
        found = [violation for violation in await tab.evaluate(AXE_RUN) if violation["impact"] in SERIOUS]
        told = [(v["id"], v["help"], [node["html"][:200] for node in v["nodes"][:3]]) for v in found]
        assert told == [], f"{page.name}, {scheme}"


async def settled(tab: Tab) -> None:
    """Thumbnails that are on the screen are there, or are known not to be; no part of the page is being replaced."""
    await tab.wait_for_function(
        """() => !document.querySelector('.htmx-request') && [...document.querySelectorAll('main img')].every(
             image => image.complete || image.getBoundingClientRect().top > innerHeight)"""
    )
