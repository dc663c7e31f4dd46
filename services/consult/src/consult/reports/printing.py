"""The printed report: a page enters, PDF bytes leave; the same page gives the same bytes. Blocking, about a second."""

import base64
from collections.abc import Iterable
from datetime import datetime
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import segno
from jinja2 import Environment, StrictUndefined, select_autoescape
from weasyprint import CSS, HTML
from weasyprint.urls import URLFetcher

from consult.reports.identity import uid
from consult.reports.model import EarlierVersion, Header, Page, Picture

_PAGES = files("consult.reports") / "pages"
URGENCY = {"routine": "普通 Routine", "urgent": "加急 Urgent", "emergency": "急诊 Emergency"}
SEX = {"M": "男 M", "F": "女 F", "O": "其他 O"}
_environment = Environment(autoescape=select_autoescape(default=True), undefined=StrictUndefined, trim_blocks=True)


def print_report(page: Page) -> bytes:
    """The PDF. Nothing but what the page carries is loaded: an address in a doctor's text opens nothing."""
    template = _environment.from_string((_PAGES / "report.html").read_text(encoding="utf-8"))
    html = template.render(**_words(page))
    fetcher = URLFetcher(allowed_protocols=("data",), allow_redirects=False)
    identifier = uid("pdf", page.consult.id, page.report.version).encode()
    document = HTML(string=html, url_fetcher=fetcher)
    style = CSS(string=(_PAGES / "report.css").read_text(encoding="utf-8"), url_fetcher=fetcher)
    pdf: bytes = document.write_pdf(stylesheets=[style], pdf_identifier=identifier, pdf_tags=True)
    return pdf


def _words(page: Page) -> dict[str, Any]:
    """What the template names."""
    consult, report = page.consult, page.report
    zone = ZoneInfo(page.time_zone)
    assert report.issued_at is not None, "only an issued version is printed"
    signed = report.signature.at if report.signature else report.issued_at
    return {
        "t": {"title_zh": "远程影像会诊报告"},
        "c": consult,
        "r": report,
        "head": page.letterhead,
        "from_": page.applicant_hospital,
        "patient": _patient(page),
        "urgency": URGENCY[consult.urgency],
        "studies": [_study(header) for header in page.studies or [page.study]],
        "application": list(_application(page)),
        "others": _others(page),
        "pictures": [_figure(number, one) for number, one in enumerate(page.pictures, start=1)],
        "signed": _moment(signed, zone),
        "reviewed": _moment(report.reviewer.at, zone) if report.reviewer else "",
        "issued": _moment(report.issued_at, zone),
        "issued_iso": report.issued_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "earlier": [_earlier(one, zone) for one in page.earlier],
        "verify_url": page.verify_url,
        "qr": _qr(page.verify_url),
    }


def _patient(page: Page) -> dict[str, str]:
    """As the application names them, else as the study's header does."""
    said, header = page.consult.patient, page.study
    birth = said.birth_date or text(header, "00100030")
    sex = said.sex or text(header, "00100040")
    return {
        "name": said.name or person_name(header),
        "sex": SEX.get(sex, "—"),
        "birth_date": f"{birth[:4]}-{birth[4:6]}-{birth[6:]}" if len(birth) == 8 else birth or "—",
        "id": said.patient_id or text(header, "00100020") or "—",
    }


def _study(header: Header) -> dict[str, str]:
    modalities = header.get("00080061", {}).get("Value", [])
    what = " ".join(part for part in ("/".join(modalities), text(header, "00081030")) if part)
    date, time = text(header, "00080020"), text(header, "00080030")
    when = f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else "—"
    return {"what": what or "—", "when": f"{when} {time[:2]}:{time[2:4]}" if len(time) >= 4 else when}


def _application(page: Page) -> Iterable[tuple[str, str]]:
    consult = page.consult
    diagnoses = "；".join(f"{one.code} {one.text}".strip() for one in consult.diagnoses)
    questions = "\n".join(f"{number}. {one}" for number, one in enumerate(consult.questions, start=1))
    rows = (
        ("主诉", consult.chief_complaint),
        ("病史", consult.history),
        ("临床诊断", diagnoses),
        ("检查项目", "、".join(consult.examination_items)),
        ("会诊目的", consult.purpose),
        ("会诊问题", questions),
    )
    return ((label, words) for label, words in rows if words.strip())


def _others(page: Page) -> list[str]:
    """The panel and the cases one level up whose opinions the author had."""
    panel = [one.opinion for one in page.consult.panel if one.opinion is not None]
    given = [*panel, *page.consult.opinions]
    return [f"{one.name or one.by}" + (f"（{one.from_number}）" if one.from_number else "") for one in given]


def _figure(number: int, picture: Picture) -> dict[str, str]:
    where = [picture.modality] if picture.modality else []
    where += [f"序列 {picture.series_number}"] if picture.series_number is not None else []
    where += [f"图像 {picture.instance_number}"] if picture.instance_number is not None else []
    where += [f"帧 {picture.image.frame}"] if picture.image.frame > 1 else []
    source = f"data:image/jpeg;base64,{base64.b64encode(picture.jpeg).decode()}" if picture.jpeg else ""
    return {"source": source, "caption": f"图 {number}　{' '.join(where)}".rstrip(), "note": picture.image.note}


def _earlier(one: EarlierVersion, zone: ZoneInfo) -> dict[str, str]:
    return {"version": str(one.version), "at": _moment(one.issued_at, zone), "reason": one.reason_of_next}


def _moment(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _qr(url: str) -> str:
    """The QR code as a picture in the page; empty without an address."""
    return str(segno.make(url, error="m").svg_data_uri(border=1, dark="#000")) if url else ""


def text(header: Header, tag: str) -> str:
    """The first value of a text attribute."""
    return str((header.get(tag, {}).get("Value") or [""])[0]).strip()


def person_name(header: Header) -> str:
    """The patient's name: in Han where the header has it so."""
    name = (header.get("00100010", {}).get("Value") or [{}])[0]
    chosen = str(name.get("Ideographic") or name.get("Alphabetic") or "—")
    joint = "" if any("\u3400" <= char <= "\u9fff" for char in chosen) else " "
    return chosen.replace("^", joint).strip()
