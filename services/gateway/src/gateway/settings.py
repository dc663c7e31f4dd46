"""The gateway's settings, from the environment with the prefix `GATEWAY_`."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr
from pydantic_settings import SettingsConfigDict

from gateway.model import HospitalEntry, parse_hospitals
from imaging_common.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Two copies of one portal share everything here but their port."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_")

    public_url: Annotated[str, AfterValidator(lambda url: url.rstrip("/"))] = "http://127.0.0.1:8080"
    """The address browsers use; its scheme decides whether cookies are `Secure`."""
    oidc_client_id: str = "portal"
    oidc_client_secret: SecretStr = SecretStr("")
    session_secret: SecretStr = SecretStr("")
    """Encrypts the tokens in the session store; at least 32 characters, the same in all copies."""
    session_hours: float = 10.0
    """A session ends then, whatever happens."""
    consult_url: str = "http://127.0.0.1:8085"
    consult_timeout_seconds: float = 10.0
    ohif_dir: Path | None = None
    """OHIF's published build; without it the viewer answers 404."""
    hospitals: list[HospitalEntry] = []
    """The region's hospitals as JSON; raise an entry's `revision` with every change."""
    hospitals_file: Path | None = None
    """A file with the same JSON; taken when `hospitals` is empty."""
    frame_ancestors: str = ""
    """Other origins that may embed the viewer (the EHR's), separated by spaces."""
    heartbeat_seconds: float = 10.0
    """Between two heartbeats of an edge agent; after three without one its hospital counts as offline."""
    frame_wait_seconds: float = 30.0
    """So long an image is waited for that lies at its hospital."""
    retrieval_silence_seconds: float = 60.0
    """A whole series or study is given up when nothing of it lands for so long."""
    viewer_linger_seconds: float = 10.0
    """So long after the last viewer left a retrieval is cancelled."""
    prefetch_priors: int = 3
    """Earlier studies of the same person that opening a study brings into the cache tier; 0: none."""
    prefetch_record_studies: int = 5
    """Studies that opening a resident's record in the EHR brings into the cache tier."""
    time_zone: str = "Asia/Shanghai"
    """In which the portal shows times."""

    @property
    def secure(self) -> bool:
        """Whether browsers come by https."""
        return self.public_url.startswith("https://")

    def region_hospitals(self) -> list[HospitalEntry]:
        """The entries of `hospitals`, else of `hospitals_file`."""
        if self.hospitals or self.hospitals_file is None:
            return self.hospitals
        return parse_hospitals(self.hospitals_file.read_text("utf-8"))
