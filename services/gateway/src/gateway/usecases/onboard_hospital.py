"""Takes a hospital into the region, step by step: every step can be done again, and goes on where it stood."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from pymongo.errors import PyMongoError

from gateway.errors import RegistryConflict
from gateway.operations.onboarding import (
    BadForm,
    Form,
    Onboarding,
    Secrets,
    Step,
    StepState,
    begun,
)
from gateway.operations.onboarding_ports import Broker, Clients, Onboardings, Signer
from gateway.ports import HospitalRegistry
from gateway.retrievals.edges import Clock, utc_now
from imaging_common import pki
from imaging_common.audit import AuditTrail, Outcome, who
from imaging_common.auth import Claims
from imaging_common.errors import ImagingError

_log = structlog.get_logger(__name__)
TURN = timedelta(seconds=150)
"""A step takes at most so long; after that another copy may go on."""


class OnboardHospital:
    """One copy's part. `live` tells the operators' pages that a hospital's onboarding is further."""

    def __init__(
        self,
        onboardings: Onboardings,
        registry: HospitalRegistry,
        broker: Broker,
        clients: Clients,
        signer: Signer,
        audit: AuditTrail,
        live: Callable[[str], Awaitable[None]],
        clock: Clock = utc_now,
    ) -> None:
        self.onboardings = onboardings
        self._registry = registry
        self._broker = broker
        self._clients = clients
        self._signer = signer
        self._audit = audit
        self._live = live
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, claims: Claims, form: Form) -> Onboarding:
        """Begin with a new hospital.

        Raises
        ------
        BadForm
            Its id is taken, or the request for a certificate is none.
        PublishFailed
            It cannot be recorded, and is not done.
        """
        _check_csr(form.csr)
        if form.hospital in {entry.hospital for entry in await self._registry.all()}:
            raise BadForm("taken")
        made = begun(form, claims.user, self._clock())
        await self._record(claims, form.hospital, "success", "onboard")
        if not await self.onboardings.begin(made, _new_secrets(made)):
            raise BadForm("taken")
        await self.go_on(form.hospital)
        return made

    async def rotate(self, claims: Claims, form: Form, parts: tuple[Step, ...]) -> bool:
        """Begin with new credentials; False: somebody else just did, or nothing was chosen.

        Raises
        ------
        BadForm
            The request for a certificate is none.
        PublishFailed
            It cannot be recorded, and is not done.
        """
        _check_csr(form.csr)
        if not parts:
            return False
        known = await self.onboardings.of(form.hospital)
        made = begun(form, claims.user, self._clock(), known, parts)
        await self._record(claims, form.hospital, "success", "rotate: " + " ".join(parts))
        if not await self.onboardings.begin(made, _new_secrets(made)):
            return False
        await self.go_on(form.hospital)
        return True

    async def go_on(self, hospital: str) -> None:
        """Do what is not done yet, in the background, unless somebody does."""
        now = self._clock()
        if not await self.onboardings.take_turn(hospital, now, now + TURN):
            return
        task = asyncio.create_task(self.run(hospital))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._tasks)

    async def fetch(self, claims: Claims, hospital: str) -> tuple[Onboarding, Secrets] | None:
        """Take the hospital's file out, once; None: it is not ready, or was taken.

        Raises
        ------
        PublishFailed
            It cannot be recorded, and is not done.
        """
        known = await self.onboardings.of(hospital)
        if known is None or not known.complete:
            return None
        await self._record(claims, hospital, "success", "credentials fetched")
        found = await self.onboardings.fetch(hospital, claims.user, self._clock())
        return None if found is None else (known, found)

    async def run(self, hospital: str) -> None:
        """One turn, which was taken: the steps in order, until one fails."""
        try:
            known = await self.onboardings.of(hospital)
            kept = await self.onboardings.secrets(hospital)
            if known is None or kept is None:
                return
            for step, state in known.steps.items():
                if state.state != "done" and not await self._try(known, kept, step):
                    return
        except PyMongoError as error:
            _log.warning("onboarding-interrupted", hospital=hospital, error=type(error).__name__)
        finally:
            await self.onboardings.give_back(hospital)
            await self._live(hospital)

    async def _try(self, known: Onboarding, kept: Secrets, step: Step) -> bool:
        await self._note(known.hospital, step, StepState(state="running", at=self._clock()))
        try:
            await self._do(known, kept, step)
        except (ImagingError, RegistryConflict) as error:
            _log.warning("onboarding-step-failed", hospital=known.hospital, step=step, error=type(error).__name__)
            await self._note(known.hospital, step, StepState(state="failed", at=self._clock(), error=str(error)[:200]))
            return False
        await self._note(known.hospital, step, StepState(state="done", at=self._clock()))
        return True

    async def _do(self, known: Onboarding, kept: Secrets, step: Step) -> None:
        hospital = known.hospital
        if step == "registered":
            await self._registry.register(known.form.entry())
        elif step == "topics":
            await self._broker.prepare(hospital)
        elif step == "principal":
            await self._broker.set_password(hospital, kept.kafka_password)
        elif step == "client":
            await self._clients.put(hospital, kept.client_secret)
        else:
            certificate, key, authority = await self._signer.sign(hospital, known.form.all_ae_titles, known.form.csr)
            kept.certificate, kept.private_key, kept.authority = certificate, key, authority
            await self.onboardings.keep(hospital, kept)

    async def _note(self, hospital: str, step: Step, state: StepState) -> None:
        await self.onboardings.note(hospital, step, state, self._clock() + TURN)
        await self._live(hospital)

    async def _record(self, claims: Claims, hospital: str, outcome: Outcome, reason: str) -> None:
        await self._audit.record(
            action="onboard",
            outcome=outcome,
            **who(claims),
            holder=hospital,
            reason=reason,
        )


def _check_csr(csr: str) -> None:
    try:
        if csr:
            pki.public_key_of_request(csr.encode())
    except pki.BadRequest as error:
        raise BadForm("csr") from error


def _new_secrets(made: Onboarding) -> Secrets:
    """Made before the first step, so that a step that is done again does the same."""
    return Secrets(
        kafka_password=secrets.token_urlsafe(24) if "principal" in made.steps else "",
        client_secret=secrets.token_urlsafe(32) if "client" in made.steps else "",
    )
