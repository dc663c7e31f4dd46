"""`python -m imaging_native.joining HOSPITAL`: the region's operator onboards a hospital in the portal.

The archive for the hospital's IT goes to the standard output (settings: `STORY_…`, as for the story).
"""

import asyncio
import html
import re
import sys
from contextlib import aclosing

import httpx

from imaging_native.asking import until
from imaging_native.session import portal_client
from imaging_native.story.deployed import DeployedRegion

OPERATOR, FORM = "operator.region", "/portal/onboarding"


async def fill_in(client: httpx.AsyncClient, page: str, path: str, **fields: str) -> httpx.Response:
    """Fill in a form of a page of the portal.

    Raises
    ------
    RuntimeError
        The page has no form.
    """
    found = re.search(r'name="csrf" value="([^"]+)"', (await client.get(page)).text)
    if found is None:
        raise RuntimeError(f"{page} has no form")
    return await client.post(path, data={**fields, "csrf": html.unescape(found[1])})


async def onboard(client: httpx.AsyncClient, hospital: str, callers: str) -> bytes:
    """Through the form to the archive (ZIP) with credentials, certificate and settings, which is given once.

    Parameters
    ----------
    client
        Of somebody who is signed in as the region's operator.
    callers
        Which modalities may send to the agent: `AE@host,…`.

    Raises
    ------
    RuntimeError
        A step of the onboarding failed; the text says which.
    """
    title = hospital.upper()[:16]
    names = {"name_zh": "城东社区卫生服务中心", "name_en": "East Community Hospital"}
    kind = {"level": "community", "tier": "central", "ae_title": title, "callers": callers, "pacs_port": "104"}
    await fill_in(client, FORM, FORM, hospital=hospital, **names, **kind)
    page = f"{FORM}/{hospital}"

    async def complete() -> bool:
        text = (await client.get(page)).text
        if 'data-state="failed"' in text:
            raise RuntimeError(f"the onboarding failed: {re.findall(r'<small>([^<]+)</small></li>', text)}")
        return 'data-complete="yes"' in text

    await until(complete, "every step of the onboarding")
    answer = await fill_in(client, page, f"{page}/file")
    return answer.raise_for_status().content


async def archive_for(hospital: str) -> bytes:
    """Sign in and onboard."""
    async with aclosing(await portal_client(DeployedRegion().state(), OPERATOR)) as client:
        return await onboard(client, hospital, "*@*")


def main() -> None:
    """The command line."""
    sys.stdout.buffer.write(asyncio.run(archive_for(sys.argv[1])))


if __name__ == "__main__":
    main()
