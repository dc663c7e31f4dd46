"""What the operators' pages share: ports and use cases, made by the composition root; None: credentials are missing."""

from dataclasses import dataclass

from gateway.operations.onboarding import Addresses
from gateway.operations.ports import EchoStore, EdgeLog, UsageStore
from gateway.usecases.onboard_hospital import OnboardHospital
from gateway.usecases.replay_letters import LetterDesk


@dataclass(frozen=True)
class Operations:
    """Behind the pages."""

    log: EdgeLog
    echoes: EchoStore
    usage: UsageStore
    letters: LetterDesk | None
    onboard: OnboardHospital | None
    addresses: Addresses
