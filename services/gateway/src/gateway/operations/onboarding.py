"""Onboarding of a hospital: what is asked, its steps, what the hospital gets. Rules without I/O."""

import io
import re
import zipfile
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from gateway.model import HospitalEntry
from imaging_common.ids import HOSPITAL_PATTERN, HospitalId
from imaging_common.messaging.permissions import edge_principal

Step = Literal["registered", "topics", "principal", "client", "certificate"]
ONBOARDING: tuple[Step, ...] = ("registered", "topics", "principal", "client", "certificate")
ROTATION: tuple[Step, ...] = ("principal", "client", "certificate")
State = Literal["waiting", "running", "done", "failed"]
AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")
"""PS3.5 §6.2, VR AE: no backslash, no control characters."""
HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,253}")
CALLER = re.compile(r"[\x21-\x2b\x2d-\x5b\x5d-\x7e ]{1,16}@[A-Za-z0-9.:*\[\]-]{1,253}")
URL = re.compile(r"https?://[\x21-\x7e]{1,480}")
MAX_CSR = 16_384
FIELDS = (
    *("hospital", "name_zh", "name_en", "level", "tier", "ae_title", "ae_titles", "callers"),
    *("pacs_ae_title", "pacs_host", "pacs_port", "pacs_dicomweb_url", "csr"),
)


class BadForm(ValueError):
    """A field that cannot be taken; its name."""


class Form(BaseModel):
    """What the operator says of the hospital."""

    hospital: HospitalId
    name_zh: str
    name_en: str
    level: Literal["community", "secondary", "tertiary", "outside"]
    tier: Literal["distributed", "central"]
    ae_title: str
    """The edge agent's own."""
    ae_titles: list[str] = []
    """Others of the hospital that its certificate shall name (devices, C-MOVE destination)."""
    callers: str = ""
    """Devices that may call the agent, `AE@address`, comma-separated."""
    pacs_ae_title: str = ""
    pacs_host: str = ""
    pacs_port: int = 0
    pacs_dicomweb_url: str = ""
    csr: str = ""
    """A certificate signing request (PEM); empty: a key is made here and given out once."""

    @model_validator(mode="after")
    def _check_pacs(self) -> Self:
        if self.tier == "distributed" and not (self.pacs_ae_title and self.pacs_host and self.pacs_port):
            raise ValueError("a hospital of the distributed tier has a PACS")
        return self

    @property
    def all_ae_titles(self) -> list[str]:
        """What the certificate names; where there is a PACS, also where C-MOVE goes to."""
        own = [self.ae_title, *([f"{self.ae_title[:13]}_MV"] if self.pacs_ae_title else [])]
        return list(dict.fromkeys([*own, *self.ae_titles]))

    def entry(self) -> HospitalEntry:
        """The registry's first entry."""
        names = {"hospital", "name_zh", "name_en", "level", "tier"}
        return HospitalEntry.model_validate(self.model_dump(include=names))


def read_form(fields: Mapping[str, str]) -> Form:
    """The form's fields, checked one by one.

    Raises
    ------
    BadForm
        The first field that cannot be taken.
    """
    titles = [title for title in re.split(r"[,，;\s]+", fields["ae_titles"]) if title]
    callers = [caller.strip() for caller in re.split(r"[,，;\n]+", fields["callers"]) if caller.strip()]
    port = fields["pacs_port"]
    has_pacs = bool(fields["pacs_ae_title"] or fields["tier"] == "distributed")
    checks = {
        "hospital": re.fullmatch(HOSPITAL_PATTERN[1:-1], fields["hospital"]) is not None,
        "name_zh": 0 < len(fields["name_zh"]) <= 60,
        "name_en": 0 < len(fields["name_en"]) <= 90,
        "level": fields["level"] in ("community", "secondary", "tertiary", "outside"),
        "tier": fields["tier"] in ("central", "distributed"),
        "ae_title": AE_TITLE.fullmatch(fields["ae_title"]) is not None,
        "ae_titles": len(titles) <= 20 and all(map(AE_TITLE.fullmatch, titles)),
        "callers": len(callers) <= 50 and all(map(CALLER.fullmatch, callers)),
        "pacs_ae_title": not has_pacs or AE_TITLE.fullmatch(fields["pacs_ae_title"]) is not None,
        "pacs_host": not has_pacs or HOST.fullmatch(fields["pacs_host"]) is not None,
        "pacs_port": not has_pacs or (port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536),
        "pacs_dicomweb_url": not fields["pacs_dicomweb_url"] or URL.fullmatch(fields["pacs_dicomweb_url"]) is not None,
        "csr": len(fields["csr"]) <= MAX_CSR,
    }
    for name, good in checks.items():
        if not good:
            raise BadForm(name)
    values: dict[str, object] = {**fields, "ae_titles": titles, "callers": ",".join(callers)}
    values["pacs_port"] = int(port) if has_pacs else 0
    if not has_pacs:
        values |= {"pacs_host": "", "pacs_dicomweb_url": ""}
    return Form.model_validate(values)


class StepState(BaseModel):
    """How far a step is."""

    state: State = "waiting"
    at: datetime | None = None
    error: str = ""
    """What went wrong: an error's name, or what a server answered."""


class Onboarding(BaseModel):
    """The way of one hospital into the region, or to new credentials; secrets are kept elsewhere."""

    form: Form
    run: int = 1
    """Counts onboarding and rotations."""
    kind: Literal["onboard", "rotate"] = "onboard"
    started_by: str
    started_at: datetime
    steps: dict[Step, StepState] = Field(default_factory=dict)
    running_until: datetime | None = None
    """A copy of the gateway is at work until then, or died."""
    taken_at: datetime | None = None
    """When the file was fetched."""
    taken_by: str = ""

    @property
    def hospital(self) -> str:
        """Its id."""
        return self.form.hospital

    @property
    def complete(self) -> bool:
        """Whether every step is done."""
        return all(step.state == "done" for step in self.steps.values())

    def runs(self, now: datetime) -> bool:
        """Whether somebody works on it."""
        return self.running_until is not None and self.running_until > now and not self.complete


def begun(
    form: Form, user: str, now: datetime, known: Onboarding | None = None, parts: tuple[Step, ...] = ()
) -> Onboarding:
    """A new onboarding, or a rotation of these parts."""
    steps = {step: StepState() for step in (parts or ONBOARDING)}
    run = known.run + 1 if known else 1
    kind: Literal["onboard", "rotate"] = "rotate" if parts else "onboard"
    return Onboarding(form=form, run=run, kind=kind, started_by=user, started_at=now, steps=steps)


class Secrets(BaseModel):
    """What only the hospital shall have, until its file was fetched; what is empty was not made anew."""

    kafka_password: str = ""
    client_secret: str = ""
    private_key: str = ""
    """PEM; empty too when the hospital made its own key."""
    certificate: str = ""
    authority: str = ""


class Addresses(BaseModel):
    """The centre, as edge agents reach it."""

    kafka_bootstrap: str
    kafka_tls: bool = False
    ingest_url: str
    gateway_url: str
    oidc_issuer: str


def configuration(form: Form, secrets: Secrets, addresses: Addresses, *, whole: bool) -> str:
    """The edge agent's settings as a file of environment variables; not `whole`: only what is new."""
    values: dict[str, str] = {}
    if secrets.kafka_password:
        values |= {"KAFKA_USERNAME": edge_principal(form.hospital), "KAFKA_PASSWORD": secrets.kafka_password}
    if secrets.client_secret:
        values |= {"OIDC_CLIENT_ID": edge_principal(form.hospital), "OIDC_CLIENT_SECRET": secrets.client_secret}
    if secrets.certificate:
        values |= {"TLS_CERT": "tls/certificate.pem", "TLS_KEY": "tls/key.pem", "TLS_CA": "tls/ca.pem"}
    if whole:
        values |= {
            "HOSPITAL": form.hospital,
            "AE_TITLE": form.ae_title,
            "KAFKA_BOOTSTRAP": addresses.kafka_bootstrap,
            "KAFKA_TLS": "true" if addresses.kafka_tls else "",
            "KAFKA_CA": "tls/ca.pem" if addresses.kafka_tls else "",
            "OIDC_ISSUER": addresses.oidc_issuer,
            "INGEST_URL": addresses.ingest_url,
            "GATEWAY_URL": addresses.gateway_url,
            "DIMSE_HOST": "0.0.0.0",  # noqa: S104 (the hospital's devices come from outside)
            "DIMSE_PORT": "11112",
            "ALLOWED_CALLERS": form.callers,
            "SPOOL_DIR": "spool",
        }
    if whole and form.pacs_ae_title:
        values |= {
            "PACS_AE_TITLE": form.pacs_ae_title,
            "PACS_HOST": form.pacs_host,
            "PACS_PORT": str(form.pacs_port),
            "PACS_DICOMWEB_URL": form.pacs_dicomweb_url,
            "MOVE_AE_TITLE": form.all_ae_titles[1],
        }
    return "".join(f"EDGE_AGENT_{name}={_quoted(value)}\n" for name, value in sorted(values.items()) if value)


def bundle(onboarding: Onboarding, secrets: Secrets, addresses: Addresses, readme: Mapping[str, str]) -> bytes:
    """The file for the hospital, a ZIP.

    Parameters
    ----------
    readme
        File name → text.
    """
    form = onboarding.form
    files = {"edge-agent.env": configuration(form, secrets, addresses, whole=onboarding.kind == "onboard"), **readme}
    if secrets.certificate:
        files |= {"tls/certificate.pem": secrets.certificate, "tls/ca.pem": secrets.authority}
    if secrets.private_key:
        files["tls/key.pem"] = secrets.private_key
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(f"edge-agent-{form.hospital}/{name}", onboarding.started_at.timetuple()[:6])
            info.external_attr = 0o600 << 16
            archive.writestr(info, text)
    return buffer.getvalue()


def _quoted(value: str) -> str:
    """As systemd's EnvironmentFile and a shell read it."""
    plain = re.fullmatch(r"[A-Za-z0-9_@%+=:,./*-]*", value)
    return value if plain else '"' + re.sub(r'(["\\$`])', r"\\\1", value) + '"'
