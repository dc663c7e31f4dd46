"""What onboarding needs of the world, with the fakes that stand in for it."""

from datetime import datetime
from typing import Protocol

from gateway.operations.onboarding import Onboarding, Secrets, Step, StepState


class Onboardings(Protocol):
    """One document a hospital, shared by all copies of the gateway; secrets encrypted until they were fetched."""

    async def begin(self, onboarding: Onboarding, secrets: Secrets) -> bool:
        """Keep it, if the stored one is of the run before (or there is none) and nobody works on it."""
        ...

    async def of(self, hospital: str) -> Onboarding | None:
        """The hospital's last one."""
        ...

    async def all(self) -> list[Onboarding]:
        """Every hospital's last one, by id."""
        ...

    async def take_turn(self, hospital: str, now: datetime, until: datetime) -> bool:
        """Work on it until then, if nobody else does."""
        ...

    async def give_back(self, hospital: str) -> None:
        """Nobody works on it any more."""
        ...

    async def note(self, hospital: str, step: Step, state: StepState, until: datetime) -> None:
        """How far a step is; whoever works on it does so until then."""
        ...

    async def secrets(self, hospital: str) -> Secrets | None:
        """What waits to be fetched; None: nothing (any more)."""
        ...

    async def keep(self, hospital: str, secrets: Secrets) -> None:
        """Replace what waits."""
        ...

    async def fetch(self, hospital: str, user: str, now: datetime) -> Secrets | None:
        """Take out what waits, once; None: nothing does."""
        ...


class Broker(Protocol):
    """Kafka's administration."""

    async def prepare(self, hospital: str) -> None:
        """Make the hospital's topics and permissions; what is there stays. Raises OnboardingFailed."""
        ...

    async def set_password(self, hospital: str, password: str) -> None:
        """Make the agent's user, or change its password. Raises OnboardingFailed."""
        ...


class Clients(Protocol):
    """The identity provider's clients."""

    async def put(self, hospital: str, secret: str) -> None:
        """Make the agent's client, or bring it up to date. Raises OnboardingFailed."""
        ...


class Signer(Protocol):
    """The region's authority."""

    async def sign(self, hospital: str, ae_titles: list[str], csr: str) -> tuple[str, str, str]:
        """Certificate, private key (empty with a request) and the authority's certificate, PEM.

        Raises OnboardingFailed.
        """
        ...


class FakeOnboardings:
    """`Onboardings` in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Onboarding] = {}
        self.sealed: dict[str, Secrets] = {}

    async def begin(self, onboarding: Onboarding, secrets: Secrets) -> bool:
        """See `Onboardings.begin`."""
        known = self.kept.get(onboarding.hospital)
        if (known.run if known else 0) != onboarding.run - 1:
            return False
        self.kept[onboarding.hospital], self.sealed[onboarding.hospital] = onboarding, secrets
        return True

    async def of(self, hospital: str) -> Onboarding | None:
        """See `Onboardings.of`."""
        return self.kept.get(hospital)

    async def all(self) -> list[Onboarding]:
        """See `Onboardings.all`."""
        return [self.kept[hospital] for hospital in sorted(self.kept)]

    async def take_turn(self, hospital: str, now: datetime, until: datetime) -> bool:
        """See `Onboardings.take_turn`."""
        known = self.kept[hospital]
        if known.running_until is not None and known.running_until > now:
            return False
        self.kept[hospital] = known.model_copy(update={"running_until": until})
        return True

    async def give_back(self, hospital: str) -> None:
        """See `Onboardings.give_back`."""
        self.kept[hospital] = self.kept[hospital].model_copy(update={"running_until": None})

    async def note(self, hospital: str, step: Step, state: StepState, until: datetime) -> None:
        """See `Onboardings.note`."""
        known = self.kept[hospital]
        update = {"steps": {**known.steps, step: state}, "running_until": until}
        self.kept[hospital] = known.model_copy(update=update)

    async def secrets(self, hospital: str) -> Secrets | None:
        """See `Onboardings.secrets`."""
        return self.sealed.get(hospital)

    async def keep(self, hospital: str, secrets: Secrets) -> None:
        """See `Onboardings.keep`."""
        self.sealed[hospital] = secrets

    async def fetch(self, hospital: str, user: str, now: datetime) -> Secrets | None:
        """See `Onboardings.fetch`."""
        found = self.sealed.pop(hospital, None)
        if found is not None:
            update = {"taken_at": now, "taken_by": user}
            self.kept[hospital] = self.kept[hospital].model_copy(update=update)
        return found


class FakeCentre:
    """`Broker`, `Clients` and `Signer` that note what was asked; `fail` names a call that fails."""

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []
        self.fail: dict[str, Exception] = {}

    async def prepare(self, hospital: str) -> None:
        """See `Broker.prepare`."""
        self._note("topics", hospital)

    async def set_password(self, hospital: str, password: str) -> None:
        """See `Broker.set_password`."""
        self._note("principal", hospital, password)

    async def put(self, hospital: str, secret: str) -> None:
        """See `Clients.put`."""
        self._note("client", hospital, secret)

    async def sign(self, hospital: str, ae_titles: list[str], csr: str) -> tuple[str, str, str]:
        """See `Signer.sign`."""
        self._note("certificate", hospital, *ae_titles)
        return "CERTIFICATE", "" if csr else "KEY", "CA"

    def _note(self, name: str, *values: str) -> None:
        if name in self.fail:
            raise self.fail[name]
        self.done.append((name, *values))
