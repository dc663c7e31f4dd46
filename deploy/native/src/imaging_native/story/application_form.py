"""A person fills in the application form: what a routine case needs, no more."""

from playwright.async_api import Page, expect


async def write_application(page: Page, hospital: str, purpose: str) -> None:
    """Everything that is needed before a routine application can be submitted; kept as a draft while it is typed."""
    await page.wait_for_selector("#application[data-ready]")
    await page.fill('[name="chief_complaint"]', "体检发现异常 1 周")
    await page.fill('[name="history"]', "无咳嗽，无发热，无外伤史。")
    await page.fill("#diagnosis-input", "R91.1")
    await page.locator("#diagnosis-list li", has_text="R91.1").first.wait_for()
    await page.press("#diagnosis-input", "Enter")
    await page.fill('[name="purpose"]', purpose)
    await page.select_option('[name="consultant_hospital"]', hospital)
    await page.select_option('[name="consent"]', "verbal")
    await expect(page.locator('[data-testid="missing"] li')).to_have_count(0)
    await expect(page.locator('[data-testid="saved"]')).to_have_attribute("data-state", "saved")
