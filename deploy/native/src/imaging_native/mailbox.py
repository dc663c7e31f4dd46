"""A mail server and an SMS gateway for one machine: what is taken lies in a folder, and is read over HTTP.

`python -m imaging_native.mailbox`, settings from the environment with the prefix `MAILBOX_`. Mail is written and synced
before the server says 250 (RFC 5321 §6.1); a text message before 202. `PUT /faults` makes it misbehave.
"""

import asyncio
import contextlib
import email
import email.policy
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as SmtpSession
from fastapi import FastAPI, Header, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic_settings import SettingsConfigDict

from imaging_common.settings import SecretFiles

MAX_BYTES = 10_000_000


class MailboxSettings(SecretFiles):
    """Where it listens, and where it keeps what it took."""

    model_config = SettingsConfigDict(env_prefix="MAILBOX_")

    host: str = "127.0.0.1"
    smtp_port: int
    http_port: int
    folder: Path
    sms_token: str = ""
    """Bearer that senders of text messages show; empty: none is asked for."""


class Faults(BaseModel):
    """How it misbehaves now. `times` counts down; -1: until it is told otherwise."""

    refuse: int = 0
    """Status in answer to RCPT: 451 (try later) or 550 (no such mailbox); 0: none."""
    drop_after_data: bool = False
    """Take the message, then break the connection instead of saying so."""
    sms_status: int = 0
    """Status in answer to `POST /sms`; 0: as it should be."""
    to: str = ""
    """Only for this recipient; empty: for all."""
    times: int = -1


class TextMessage(BaseModel):
    """What a sender of text messages posts."""

    to: str
    text: str


class Shelf:
    """What was taken, one file each, named in the order of arrival."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, kind: str, content: dict[str, Any]) -> None:
        """Write a file, synced, whole or not at all."""
        name = f"{time.time_ns():020}-{uuid.uuid4().hex[:8]}.{kind}.json"
        scratch = self._folder / f".{name}"
        with scratch.open("w", encoding="utf-8") as file:
            json.dump({"at": time.time(), **content}, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(self._folder / name)

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Everything of a kind, oldest first."""
        files = sorted(self._folder.glob(f"[0-9]*.{kind}.json"))
        return [{"id": file.name.partition(".")[0], **json.loads(file.read_text("utf-8"))} for file in files]

    def clear(self) -> None:
        """Forget everything."""
        for file in self._folder.glob("[0-9]*.json"):
            file.unlink(missing_ok=True)


class Mailbox:
    """The SMTP side: the handler of aiosmtpd's protocol."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.faults = Faults()

    def strikes(self, recipient: str, *names: str) -> Faults | None:
        """The faults that hold for this recipient now, counted down, when one of `names` is set."""
        faults = self.faults
        if faults.times == 0 or faults.to not in ("", recipient) or not any(getattr(faults, name) for name in names):
            return None
        if faults.times > 0:
            faults.times -= 1
        return faults

    async def handle_RCPT(
        self, server: SMTP, session: SmtpSession, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or refuse it as told."""
        if faults := self.strikes(address, "refuse"):
            return f"{faults.refuse} refused as told"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: SmtpSession, envelope: Envelope) -> str:
        """Keep a message; 250 only when it is on disk."""
        raw = cast(bytes, envelope.content).decode("utf-8", "surrogateescape")
        content = {"from": envelope.mail_from, "to": envelope.rcpt_tos, "raw": raw}
        await asyncio.to_thread(self._shelf.keep, "mail", content)
        if any(self.strikes(address, "drop_after_data") for address in envelope.rcpt_tos):
            cast(asyncio.Transport, server.transport).abort()
        return "250 kept"


def as_read(kept: dict[str, Any]) -> dict[str, Any]:
    """A kept message with its headers and texts taken apart."""
    raw = str(kept["raw"])
    message = email.message_from_bytes(raw.encode("utf-8", "surrogateescape"), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    return {
        **kept,
        "headers": {name: str(value) for name, value in message.items()},
        "text": text.get_content() if text else "",
        "html": html.get_content() if html else "",
    }


def build_app(settings: MailboxSettings) -> FastAPI:
    """The HTTP side, which starts and stops the SMTP side."""
    shelf = Shelf(settings.folder)
    mailbox = Mailbox(shelf)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        smtp = await loop.create_server(
            lambda: SMTP(mailbox, hostname="mailbox.invalid", data_size_limit=MAX_BYTES, enable_SMTPUTF8=True),
            settings.host,
            settings.smtp_port,
        )
        yield
        smtp.close()

    app = FastAPI(title="mailbox", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/messages")
    async def messages(to: str = "") -> JSONResponse:
        """The mail, oldest first: of everybody, or to one address."""
        found = [as_read(kept) for kept in await asyncio.to_thread(shelf.all, "mail")]
        return JSONResponse({"messages": [one for one in found if not to or to in one["to"]]})

    @app.get("/sms")
    async def texts(to: str = "") -> JSONResponse:
        """The text messages, oldest first; each idempotency key once."""
        found = {one["key"] or one["id"]: one for one in reversed(await asyncio.to_thread(shelf.all, "sms"))}
        return JSONResponse({"messages": [one for one in reversed(found.values()) if not to or to == one["to"]]})

    @app.post("/sms")
    async def take(
        message: TextMessage, authorization: str = Header(""), idempotency_key: str = Header("")
    ) -> Response:
        """Take a text message; the same `Idempotency-Key` again is the same message."""
        if settings.sms_token and authorization != f"Bearer {settings.sms_token}":
            return Response(status_code=401)
        if faults := mailbox.strikes(message.to, "sms_status"):
            return Response(status_code=faults.sms_status)
        content = {"to": message.to, "text": message.text, "key": idempotency_key}
        await asyncio.to_thread(shelf.keep, "sms", content)
        return JSONResponse({"status": "accepted"}, 202)

    @app.put("/faults")
    async def misbehave(faults: Faults) -> Faults:
        """Misbehave so from now on; an empty object ends it."""
        mailbox.faults = faults
        return faults

    @app.delete("/messages")
    async def clear() -> Response:
        """Forget all mail and text messages."""
        await asyncio.to_thread(shelf.clear)
        return Response(status_code=204)

    return app


if __name__ == "__main__":
    told = MailboxSettings()
    uvicorn.run(build_app(told), host=told.host, port=told.http_port, log_level="warning", access_log=False)
