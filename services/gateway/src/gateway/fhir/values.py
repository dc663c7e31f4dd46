"""Values that the resources are made of. Pure."""

from datetime import datetime, tzinfo
from html import escape
from typing import Any


def narrative(findings: str, impression: str) -> dict[str, str] | None:
    """Findings and impression as XHTML: R4B has no other place for findings."""
    parts = (("所见 Findings", findings), ("意见 Impression", impression))
    shown = [f"<p><b>{label}</b><br/>{_lines(text)}</p>" for label, text in parts if text]
    if not shown:
        return None
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{"".join(shown)}</div>'}


def _lines(text: str) -> str:
    return "<br/>".join(escape(line) for line in text.splitlines())


def date_time(day: str, time: str, zone: tzinfo) -> str | None:
    """DA and TM as dateTime; the date alone where there is no time."""
    try:
        moment = datetime.strptime(f"{day}{time[:6].ljust(6, '0')}", "%Y%m%d%H%M%S").replace(tzinfo=zone)
    except ValueError:
        return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 and day.isdigit() else None
    return moment.isoformat() if time else f"{moment:%Y-%m-%d}"


def filled(value: Any) -> Any:
    """The resource without what is empty: FHIR knows no empty values."""
    if isinstance(value, dict):
        kept = {name: filled(inner) for name, inner in value.items()}
        return {name: inner for name, inner in kept.items() if inner not in (None, "", [], {})}
    return [filled(inner) for inner in value] if isinstance(value, list) else value
