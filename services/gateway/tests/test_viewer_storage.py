"""The viewer in a frame that gets no storage: OHIF finds some before it starts."""

from typing import Any


async def test_storage_stands_in_before_any_other_script_runs(world: Any) -> None:
    browser = await world.signed_in()
    page = (await browser.get("/viewer")).text
    scripts = page.split("<script")[1:]
    assert "/storage.js" in scripts[0]
    assert "defer" not in scripts[0].split(">")[0]
    address = scripts[0].split('src="')[1].split('"')[0]
    assert "localStorage" in (await browser.get(address)).text
