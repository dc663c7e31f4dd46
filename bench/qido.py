"""QIDO-RS with a million studies in the index: how long the usual searches take, and how that grows from ten thousand.

Synthetic studies go straight into MongoDB `index.studies`, in the form in which the indexer writes them; the searches
go through the gateway by HTTP, one after the other, as a hospital's doctor asks them. `python bench/qido.py` measures
this alone.
"""

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from pymongo import AsyncMongoClient, IndexModel
from pymongo.write_concern import WriteConcern
from reader import Reader

from imaging_common.index.listing import STUDY_INDEXES, listing_of
from imaging_common.index.names import parse_person_name, pinyin_name
from imaging_native.region import Region
from imaging_native.session import portal_client

FEW, MANY = 10_000, 1_000_000
ROUNDS = 200
WARM_UP = 30
BATCH = 5_000
AIM_MS = 20.0
FLAT = 0.67
"""A hundred times as many studies may take half as long again."""
PAGE = 25
"""Rows of one answer: a page of the portal's study list."""
SEED = 20261124
HOSPITALS = ("community", "secondary", "tertiary", "tcm")
FAMILIES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔"
    "钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
ONE = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚"
TWO = (
    "桂英秀英秀兰玉兰桂兰建华建国建军志强志明海燕海涛晓东晓明小东春梅春生雪梅红梅冬梅金凤云飞鹏飞文静文博丽娜丽华国庆国华永强"
    "永刚佳怡欣怡子涵子轩梓萱宇轩浩然思远雨桐一诺俊杰志伟少华美玲爱华凤英新华立新德明福生根生玉珍素芬慧敏亚楠婷婷丹丹莉莉晶晶"
)
GIVEN = (*ONE, *(TWO[i : i + 2] for i in range(0, len(TWO), 2)))
MODALITIES = ("CT", "MR", "DX", "CR", "US", "MG", "XA", "PT", "NM", "ES")
WEIGHTS = (30, 15, 25, 8, 12, 4, 2, 1, 1, 2)
BODY_PARTS = ("CHEST", "HEAD", "ABDOMEN", "LSPINE", "KNEE", "BREAST", "NECK", "PELVIS")
NEWEST = datetime(2026, 11, 24, 18, tzinfo=UTC)
DAYS = 5 * 365
JSON = {"Accept": "application/dicom+json"}


@cache
def person(written: str) -> tuple[dict[str, Any], list[str]]:
    """The name's document and its tokens."""
    name = parse_person_name(f"{pinyin_name(written)}={written[0]}^{written[1:]}=").model_dump()
    return name, listing_of({"study_uid": "", "patient": {"name": name}})["tokens"]


def studies(count: int, start: int = 0) -> Iterator[dict[str, Any]]:
    """`count` documents of `index.studies`; the same numbers give the same studies."""
    for number in range(start, start + count):
        chance = random.Random(SEED * 10_000_000 + number)
        holder = HOSPITALS[number % len(HOSPITALS)]
        resident = chance.randrange(MANY // 4)
        who = random.Random(resident)
        family = FAMILIES[min(int(who.expovariate(0.05)), len(FAMILIES) - 1)]
        written = family + who.choice(GIVEN)
        at = NEWEST - timedelta(seconds=chance.randrange(DAYS * 86_400))
        name, tokens = person(written)
        uid = f"1.2.826.0.1.3680043.10.1338.{SEED}.{number}"
        document = {
            "_id": f"{holder}/{uid}",
            "study_uid": uid,
            "holder": holder,
            "tier": "central",
            "version": {"epoch": 1, "n": 3},
            "patient": {
                "id": f"P{resident:07}",
                "issuer": "",
                "name": name,
                "birth_date": f"{1935 + who.randrange(90)}{1 + who.randrange(12):02}{1 + who.randrange(28):02}",
                "sex": who.choice("MF"),
            },
            "patient_key": f"{holder}^P{resident:07}",
            "resident_id": f"R{resident:07}" if resident % 10 else None,
            "linked_by": "ehr" if resident % 10 else "",
            "study_date": at.strftime("%Y%m%d"),
            "study_time": at.strftime("%H%M%S"),
            "study_id": str(number),
            "accession": f"A{number:08}",
            "description": "胸部平扫",
            "referring_physician": {"alphabetic": "", "ideographic": "", "phonetic": "", "search": []},
            "modalities": chance.choices(MODALITIES, WEIGHTS),
            "body_parts": [chance.choice(BODY_PARTS)],
            "series_count": 3,
            "instance_count": 300,
            "announced_count": 300,
            "stored_count": 300,
            "online_count": 300,
            "header_count": 300,
            "announced": True,
            "settled": True,
            "settled_basis": "quiet",
            "stored": True,
            "rejected": [],
            "conflicts": 0,
            "corrections": 0,
            "quiet_due": None,
            "updated_at": at,
            "facts_from": f"{uid}.1.1",
        }
        yield document | listing_of({**document, "patient": {}}) | {"tokens": tokens}


async def fill(database: Any, count: int, start: int = 0) -> None:
    """Insert `count` studies."""
    collection = database.studies.with_options(write_concern=WriteConcern(w=1, j=False))
    documents = studies(count, start)
    while batch := await asyncio.to_thread(lambda: list(islice(documents, BATCH))):
        await collection.insert_many(batch, ordered=False)


async def index(database: Any) -> None:
    """What the indexer creates when it starts; built at once, which is much faster than study by study."""
    await database.studies.create_indexes([IndexModel(_keys(fields)) for fields in STUDY_INDEXES])


def _keys(fields: tuple[str, ...]) -> list[tuple[str, int]]:
    return [(name.removeprefix("-"), -1 if name.startswith("-") else 1) for name in fields]


Asked = Callable[[random.Random, Mapping[str, Any]], Mapping[str, str]]
"""A query made of chance and of some study of the asker's hospital."""


def _days(chance: random.Random) -> str:
    first = NEWEST - timedelta(days=chance.randrange(30, DAYS))
    return f"{first:%Y%m%d}-{first + timedelta(days=chance.choice((1, 7, 30))):%Y%m%d}"


def _pinyin(study: Mapping[str, Any]) -> str:
    return str(study["patient"]["name"]["alphabetic"])


KINDS: Mapping[str, Asked] = {
    "list": lambda chance, study: {},
    "resident": lambda chance, study: {
        "PatientID": study["resident_id"] or "R0000001",
        "IssuerOfPatientID": "EHR",
    },
    "patient-id": lambda chance, study: {"PatientID": study["patient"]["id"]},
    "name-han": lambda chance, study: {
        "PatientName": study["patient"]["name"]["ideographic"].replace("^", "")[: chance.choice((1, 2, 3))] + "*"
    },
    "name-pinyin": lambda chance, study: {
        "PatientName": _pinyin(study)[: chance.choice((3, 5, 9))] + "*",
    },
    "date-modality": lambda chance, study: {
        "StudyDate": _days(chance),
        "ModalitiesInStudy": chance.choices(MODALITIES, WEIGHTS)[0],
    },
    "accession": lambda chance, study: {"AccessionNumber": study["accession"]},
    "study-uid": lambda chance, study: {"StudyInstanceUID": study["study_uid"]},
}


async def measure(reader: Reader, count: int) -> dict[str, tuple[float, float]]:
    """Kind of search → p50 and p95 in ms, with `count` studies in the index."""
    figures = {}
    for kind, asked in KINDS.items():
        chance = random.Random(f"{SEED}{kind}")
        taken = []
        for round_ in range(WARM_UP + ROUNDS):
            number = chance.randrange(count // len(HOSPITALS)) * len(HOSPITALS)
            query = urlencode({"limit": PAGE, **asked(chance, next(studies(1, number)))})
            started = time.perf_counter()
            status = await reader.get(f"/dicomweb/studies?{query}", JSON)
            if round_ >= WARM_UP:
                taken.append((time.perf_counter() - started) * 1000)
            if status not in (200, 204):
                raise RuntimeError(f"a search by {kind} was answered with {status}")
        cuts = statistics.quantiles(taken, n=20)
        figures[kind] = (statistics.median(taken), cuts[18])
    return figures


async def measure_growth(region: Region) -> list[dict[str, Any]]:
    """The lines for `results.json`: p50 and p95 with a million studies, and p50 against that with ten thousand."""
    client = AsyncMongoClient[dict[str, Any]](region.mongodb.url("root"), tz_aware=True)
    database = client["index"]
    browser = await portal_client(region.state, "doctor.community")
    cookies = {cookie.name: str(cookie.value) for cookie in browser.cookies.jar}
    await browser.aclose()
    async with Reader(region.portal, 1, cookies) as reader:
        await fill(database, FEW)
        await index(database)
        few = await measure(reader, FEW)
        for fields in STUDY_INDEXES:
            await database.studies.drop_index(_keys(fields))
        started = time.perf_counter()
        await fill(database, MANY - FEW, FEW)
        print(f"{MANY} studies inserted after {time.perf_counter() - started:.0f} s", flush=True)
        await index(database)
        print(f"indexed after {time.perf_counter() - started:.0f} s", flush=True)
        await client.admin.command("fsync")  # what filling left to be written must not run into the measurement
        many = await measure(reader, MANY)
    await client.close()
    rows = []
    for kind, (p50, p95) in many.items():
        before = few[kind][0]
        rows += [
            _row(f"qido-{kind}-p50-ms", p50, before, None, "ms"),
            _row(f"qido-{kind}-p95-ms", p95, AIM_MS, 1.0, "ms"),
            _row(f"qido-{kind}-growth", p50 / before, 1.0, FLAT, "1M/10k"),
        ]
    return rows


def _row(name: str, ours: float, against: float, aim: float | None, unit: str) -> dict[str, Any]:
    """One line; `ratio` is above 1 where ours is less than what it is held against."""
    found = {"name": name, "ours": round(ours, 2), "peer": round(against, 2), "ratio": round(against / ours, 2)}
    return {**found, "unit": unit, "better": "lower", "aim": aim}


async def main() -> None:
    """Measure with the servers and the gateway alone."""
    async with Region(services=["gateway"]) as region:
        for line in await measure_growth(region):
            print(f"{line['name']:32}{line['ours']:>10}{line['peer']:>10}{line['ratio']:>8}  {line['unit']}")


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
