"""SMART App Launch 2.x as an EHR launches the portal: registered server, PKCE, and the same window as by a code."""

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from gateway.errors import LaunchRefused
from gateway.grants.model import DEFAULT_MINUTES, RESIDENT_PATTERN, AccessGrant, Ehr, by_client, by_issuer
from gateway.grants.ports import AccessGrants, SmartServer
from gateway.model import Session
from gateway.usecases.authenticate import digest
from gateway.usecases.open_window import Window, Windows
from imaging_common.audit import AuditTrail
from imaging_common.ids import is_uid

SCOPE = "launch openid fhirUser"
BEGUN_MINUTES = 10
PURPOSE = "TREAT"
"""HL7 v3 PurposeOfUse: treatment; SMART tells no other."""


class SmartApps:
    """Begins and completes launches of the portal as a SMART app."""

    def __init__(
        self, grants: AccessGrants, windows: Windows, server: SmartServer, audit: AuditTrail, ehrs: list[Ehr]
    ) -> None:
        self._grants = grants
        self._windows = windows
        self._server = server
        self._audit = audit
        self._ehrs = ehrs

    async def begin(self, iss: str, launch: str, browser: str) -> str:
        """Where the browser is sent: the EHR's authorization endpoint.

        Raises
        ------
        LaunchRefused
            400: no registered EHR calls itself so; 502: its server cannot do this.
        """
        ehr = by_issuer(self._ehrs, iss)
        if ehr is None or not launch or len(launch) > 2_000:
            await self._denied("smart-unregistered", "")
            raise LaunchRefused(400, "smart-unregistered")
        metadata = await self._server.discover(ehr.iss.rstrip("/"))
        state, verifier, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        kept = {"client_id": ehr.client_id, "verifier": verifier, "nonce": nonce}
        until = datetime.now(UTC) + timedelta(minutes=BEGUN_MINUTES)
        await self._grants.keep_request(_key(state, browser), kept, until)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": ehr.smart_client_id,
            "redirect_uri": self._server.redirect_uri,
            "launch": launch,
            "scope": SCOPE,
            "state": state,
            "aud": ehr.iss,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = str(metadata["authorization_endpoint"])
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def complete(self, *, state: str, code: str, browser: str, present: tuple[Session, ...]) -> Window:
        """Turn the EHR's answer into a window.

        Raises
        ------
        LaunchRefused
            410: this browser began no such launch, or it was completed; 403: what the EHR says does not hold.
        """
        begun = await self._grants.take_request(_key(state, browser), datetime.now(UTC))
        ehr = by_client(self._ehrs, begun["client_id"]) if begun else None
        if begun is None or ehr is None or not code:
            await self._denied("smart-not-begun", "")
            raise LaunchRefused(410, "smart-not-begun")
        try:
            grant = await self._grant(ehr, begun, code)
        except LaunchRefused as refused:
            await self._denied(refused.reason, ehr.client_id)
            raise
        return await self._windows.begin(grant, minutes=DEFAULT_MINUTES, present=present)

    async def _grant(self, ehr: Ehr, begun: Mapping[str, str], code: str) -> AccessGrant:
        """What the launch's context opens, and to whom."""
        iss = ehr.iss.rstrip("/")
        metadata = await self._server.discover(iss)
        client_id = ehr.smart_client_id
        answer = await self._server.exchange(metadata, code=code, verifier=begun["verifier"], client_id=client_id)
        token = str(answer.get("id_token", ""))
        claims = await self._server.identity(metadata, token, iss=iss, client_id=client_id, nonce=begun["nonce"])
        study = study_of(answer)
        patient = str(answer.get("patient") or "")
        if (patient and not re.fullmatch(RESIDENT_PATTERN, patient)) or not (patient or study):
            raise LaunchRefused(403, "smart-context")
        now = datetime.now(UTC)
        return AccessGrant(
            grant_id=uuid4().hex,
            kind="launch",
            user=user_of(claims),
            name=str(claims.get("name", ""))[:128],
            granted_by=ehr.client_id,
            resident_id=patient or None,
            studies=[] if patient else await self._windows.refs([study]),
            show=[study] if study else [],
            purpose=PURPOSE,
            at=now,
            until=now + timedelta(minutes=DEFAULT_MINUTES),
        )

    async def _denied(self, reason: str, source: str) -> None:
        await self._audit.record(action="launch", outcome="denied", user="unknown", reason=reason, source=source)


def user_of(claims: Mapping[str, Any]) -> str:
    """The user's id: the last part of `fhirUser` (`…/Practitioner/<id>`), else `sub`."""
    user = str(claims.get("fhirUser") or claims.get("sub", "")).rstrip("/").rpartition("/")[2]
    if not 1 <= len(user) <= 128:
        raise LaunchRefused(403, "smart-user")
    return user


def study_of(answer: Mapping[str, Any]) -> str:
    """The study of the launch's context: `imagingstudy`, or the ImagingStudy of `fhirContext`, by its UID; or empty."""
    named = [str(answer.get("imagingstudy") or "")]
    for context in answer.get("fhirContext") or []:
        if isinstance(context, Mapping) and str(context.get("reference", "")).startswith("ImagingStudy/"):
            named.append(str(context["reference"]).partition("/")[2])
        if isinstance(context, Mapping) and context.get("type") == "ImagingStudy":
            identifier = context.get("identifier")
            named.append(str(identifier.get("value", "")) if isinstance(identifier, Mapping) else "")
    return next((uid for name in named if is_uid(uid := name.removeprefix("urn:oid:"))), "")


def _key(state: str, browser: str) -> str:
    return f"smart:{digest(state)}:{digest(browser)}"
