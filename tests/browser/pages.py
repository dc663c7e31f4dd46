"""Every page of the portal that people look at, once: whose it is and how it is reached.

`test_portal_pages.py` looks at each (axe, screenshots), and fails when the gateway has a page that is not listed here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from playwright.async_api import expect

from imaging_native.story.browser import Person

DOCTOR, EXPERT = "doctor.community", "expert.secondary"
COORDINATOR, HOSPITAL_OPERATOR = "coordinator.secondary", "operator.community"
AUDITOR, OPERATOR = "auditor.region", "operator.region"
NOBODY = ""
"""Who is not signed in."""


@dataclass(frozen=True)
class World:
    """What the pages are about: a study with reports, and a case."""

    study_uid: str
    other_uid: str
    """Another study of the same patient."""
    consult: str
    """The case's address."""


Reach = Callable[[Person, World], Awaitable[str]]
"""Where a page is, for this person."""


@dataclass(frozen=True)
class Page:
    """One page."""

    name: str
    """Of its screenshots."""
    route: str
    """The gateway's route."""
    user: str = DOCTOR
    address: str = ""
    """Where it is, when that is not the route itself; `{study}` is filled in."""
    reach: Reach | None = None
    """How to find its address, where it is not known before."""
    status: int = 200
    ready: str = "main"
    """A selector that is there once the page can be looked at."""

    async def open(self, person: Person, world: World) -> str:
        """Its address for this person."""
        if self.reach is not None:
            return await self.reach(person, world)
        return (self.address or self.route).format(study=world.study_uid)


async def patient(person: Person, world: World) -> str:
    """The person behind the study, from the study list."""
    await person.page.goto(f"{person.portal}/portal/studies")
    row = person.page.locator(f'[data-study="{world.study_uid}"]')
    return str(await row.locator('[data-testid="open-patient"]').get_attribute("href"))


async def compare(person: Person, world: World) -> str:
    """Two studies side by side."""
    refs = f"ref=community/{world.study_uid}&ref=community/{world.other_uid}"
    return f"{await patient(person, world)}/compare?{refs}"


async def case(person: Person, world: World) -> str:
    """The case."""
    return world.consult


async def versions(person: Person, world: World) -> str:
    """The versions of the case's report."""
    return f"{world.consult}/versions"


async def editor(person: Person, world: World) -> str:
    """The report editor, once the expert has taken the case."""
    page = person.page
    await page.goto(person.portal + world.consult)
    state = page.locator('[data-testid="consult-state"]')
    for action, reached in (("claim", "assigned"), ("read", "reading")):
        if await page.locator(f'[data-testid="{action}-consult"]').count():
            await page.click(f'[data-testid="{action}-consult"]')
            await expect(state).to_have_attribute("data-state", reached)
    return f"{world.consult}/report"


async def subscription(person: Person, world: World) -> str:
    """A webhook, which is made when there is none."""
    page = person.page
    await page.goto(f"{person.portal}/portal/subscriptions")
    row = page.locator('[data-testid="subscription-row"] a')
    if not await row.count():
        await page.click('[data-testid="new-subscription"]')
        await page.fill('[data-testid="subscription-form"] [name="url"]', "http://127.0.0.1:9/imaging")
        await page.click('[data-testid="subscribe"]')
        await expect(page.locator('[data-testid="secret"]')).to_be_visible()
        await page.goto(f"{person.portal}/portal/subscriptions")
    return str(await row.first.get_attribute("href"))


PAGES = (
    Page("welcome", "/portal/welcome", NOBODY),
    Page("home-doctor", "/portal/home"),
    Page("home-expert", "/portal/home", EXPERT),
    Page("home-coordinator", "/portal/home", COORDINATOR),
    Page("home-hospital-operator", "/portal/home", HOSPITAL_OPERATOR),
    Page("home-operator", "/portal/home", OPERATOR),
    Page("home-auditor", "/portal/home", AUDITOR),
    Page("studies", "/portal/studies"),
    Page("patient", "/portal/patients/{key}", reach=patient),
    Page("compare", "/portal/patients/{key}/compare", reach=compare, ready='[data-testid="side"]'),
    Page("uploads", "/portal/uploads"),
    Page("consults", "/portal/consults"),
    Page("apply", "/portal/apply", address="/portal/apply?ref=community/{study}"),
    Page("consults-received", "/portal/consults", EXPERT, "/portal/consults?box=received"),
    Page("verify-unknown", "/verify/{code}", NOBODY, "/verify/ABCDE", status=404, ready='[data-testid="verify"]'),
    Page("routing", "/portal/routing", OPERATOR),
    Page("experts", "/portal/experts", OPERATOR),
    Page("policies", "/portal/policies", OPERATOR),
    Page("policies-own", "/portal/policies", HOSPITAL_OPERATOR),
    Page("statistics", "/portal/statistics", OPERATOR),
    Page("case", "/portal/consults/{consult_id}", reach=case, ready="#case"),
    Page("case-expert", "/portal/consults/{consult_id}", EXPERT, reach=case, ready="#case"),
    Page("case-report", "/portal/consults/{consult_id}/report", EXPERT, reach=editor, ready=".editor-panel"),
    Page("case-versions", "/portal/consults/{consult_id}/versions", reach=versions),
    Page("orders", "/portal/orders"),
    Page("reports", "/portal/reports"),
    Page(
        "reports-of-study",
        "/portal/studies/{holder}/{study}/reports",
        address="/portal/studies/community/{study}/reports",
    ),
    Page("reports-review", "/portal/reports/review", OPERATOR),
    Page("residents", "/portal/residents", OPERATOR),
    Page("removal", "/portal/removal", OPERATOR),
    Page("notices", "/portal/notices"),
    Page("preferences", "/portal/preferences"),
    Page("deliveries", "/portal/deliveries", OPERATOR),
    Page("audit", "/portal/audit", AUDITOR),
    Page("break-glass", "/portal/break-glass"),
    Page("shares", "/portal/shares"),
    Page("hospitals", "/portal/hospitals", OPERATOR),
    Page("hospital", "/portal/hospitals/{hospital}", OPERATOR, "/portal/hospitals/community"),
    Page("hospital-own", "/portal/hospitals/{hospital}", HOSPITAL_OPERATOR, "/portal/hospitals/community"),
    Page("onboarding", "/portal/onboarding", OPERATOR),
    Page("onboarded", "/portal/onboarding/{hospital}", OPERATOR, "/portal/onboarding/community"),
    Page("rotate", "/portal/onboarding/{hospital}/rotate", OPERATOR, "/portal/onboarding/community/rotate"),
    Page("dead-letters", "/portal/dead-letters", OPERATOR),
    Page("storage", "/portal/storage", OPERATOR),
    Page("subscriptions", "/portal/subscriptions", OPERATOR),
    Page("subscription", "/portal/subscriptions/{subscription}", OPERATOR, reach=subscription),
)
NO_PAGES = frozenset(
    {
        "/portal",  # a redirect
        "/portal/language/{language}",
        "/portal/events",
        "/portal/consults/{consult_id}/attachments/{file}",
        "/portal/consults/{consult_id}/reports/{version}/pdf",
        "/portal/viewing",
        "/portal/static/{fingerprint}/{name:path}",
        "/portal/reports/{hospital}/{key}/{sha256}/document/{number}",
        "/portal/reports/{hospital}/{key}/{sha256}/original",
        "/portal/reports/review/{hospital}/{key}",  # where a report without a study lies; test_reports.py goes there
        "/portal/apply/icd10",  # JSON
        "/portal/apply/experts",
        "/portal/apply/images",
        "/portal/apply/{draft}/files",
        "/portal/dead-letters/{topic}",  # there are dead letters only where something went wrong
        "/portal/dead-letters/{topic}/{partition}/{offset}",
    }
)
"""Routes below /portal that show nothing by themselves; parts of pages are told by their last word (`PARTS`)."""
PARTS = (
    "rows",
    "parts",
    "timeline",
    "count",
    "list",
    "progress",
    "case",
    "banner",
    "people",
    "discussion",
    "draft",
    "facts",
    "priors",
    "export",
    "agent",
    "panel",
)
