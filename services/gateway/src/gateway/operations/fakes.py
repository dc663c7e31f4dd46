"""Everything behind the operators' pages, in memory."""

from dataclasses import dataclass, field

from gateway.live import LiveHub
from gateway.model import EdgeSpoke
from gateway.operations.desk import Operations
from gateway.operations.onboarding import Addresses
from gateway.operations.onboarding_ports import FakeCentre, FakeOnboardings
from gateway.operations.ports import FakeDeadLetters, FakeEchoes, FakeEdgeLog, FakeReplayBook, FakeUsage
from gateway.operations.settings import OperationsSettings
from gateway.ports import HospitalRegistry
from gateway.usecases.onboard_hospital import OnboardHospital
from gateway.usecases.replay_letters import LetterDesk
from imaging_common.audit import AuditTrail
from imaging_common.contracts.topics import load_topics

ADDRESSES = Addresses(
    kafka_bootstrap="kafka.example:9093",
    ingest_url="https://ingest.example",
    gateway_url="https://portal.example",
    oidc_issuer="https://id.example/realms/region",
)


@dataclass
class FakeOperated:
    """What several copies of a gateway share; `without_credentials`: neither replay nor onboarding is set up."""

    log: FakeEdgeLog = field(default_factory=FakeEdgeLog)
    echoes: FakeEchoes = field(default_factory=FakeEchoes)
    usage: FakeUsage = field(default_factory=FakeUsage)
    letters: FakeDeadLetters = field(default_factory=FakeDeadLetters)
    replays: FakeReplayBook = field(default_factory=FakeReplayBook)
    onboardings: FakeOnboardings = field(default_factory=FakeOnboardings)
    centre: FakeCentre = field(default_factory=FakeCentre)
    without_credentials: bool = False

    def desk(self, registry: HospitalRegistry, audit: AuditTrail, live: LiveHub) -> Operations:
        """For one copy."""

        async def tell(hospital: str) -> None:
            await live.publish(EdgeSpoke(hospital))

        contracts = load_topics(OperationsSettings().topics_dir)
        centre = self.centre
        return Operations(
            log=self.log,
            echoes=self.echoes,
            usage=self.usage,
            letters=None if self.without_credentials else LetterDesk(self.letters, self.replays, audit, contracts),
            onboard=None
            if self.without_credentials
            else OnboardHospital(self.onboardings, registry, centre, centre, centre, audit, tell),
            addresses=ADDRESSES,
        )
