"""Settings of the edge agent, from the environment with the prefix `EDGE_AGENT_`."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from imaging_common.ids import HospitalId
from imaging_common.settings import ServiceSettings


class Settings(ServiceSettings):
    """One edge agent serves one hospital."""

    model_config = SettingsConfigDict(env_prefix="EDGE_AGENT_")

    hospital: HospitalId
    ae_title: str
    dimse_host: str = "127.0.0.1"
    dimse_port: int = 11112
    dimse_tls_port: int = 0
    """A port of its own for C-STORE over TLS (PS3.15 B.12), beside the plain one; 0: none."""
    services_tls_port: int = 0
    """The same for everything but C-STORE."""
    dimse_tls_only: bool = False
    """`dimse_port` and `services_port` themselves speak TLS, and nothing is spoken plainly."""
    allowed_callers: str = ""
    """Comma-separated `AE@address`; either part may be `*`. Empty: nobody may call."""
    receivers: int = 2
    """Processes that take associations from the DICOM port."""
    max_associations: int = 128
    """Of each receiving process."""
    spool_dir: Path
    spool_limit_bytes: int = 20 << 30
    """Bytes of instances that the centre has not stored yet; beyond it C-STORE answers 0xA700."""
    ring_bytes: int = 2 << 30
    """Bytes of copies kept after the centre's receipt; they make way when the spool needs the room."""
    quiet_seconds: float = 10.0
    """Seconds without a new instance after which a study is announced."""
    heartbeat_seconds: float = 10.0
    status_networks: list[IPv4Network | IPv6Network] = []
    """JSON: whose machines may ask `/status` and `/journal` besides the agent's own, e.g. `["10.1.2.0/24"]`."""
    ingest_url: str
    oidc_client_id: str = ""
    oidc_client_secret: SecretStr = SecretStr("")
    first_batch_instances: int = 8
    """The first batch of a study is small, so that it can be seen at once."""
    batch_bytes: int = 64 << 20
    uploads: int = 4
    """Batches on their way at the same time."""
    uploads_per_study: int = 2
    pacs_ae_title: str = ""
    """The PACS's AE title; empty: the hospital has no PACS and its images lie in the centre."""
    pacs_host: str = "127.0.0.1"
    pacs_port: int = 104
    write_back_ae_title: str = ""
    """What takes reports of consults in the PACS's place (C-STORE); empty: the PACS, where there is one."""
    write_back_host: str = "127.0.0.1"
    write_back_port: int = 104
    pacs_dicomweb_url: str = ""
    """The PACS's DICOMweb root (QIDO-RS, WADO-RS); empty: it has none, and C-FIND, C-GET or C-MOVE are used."""
    pacs_retrieve: Literal["auto", "wado-rs", "c-get", "c-move"] = "auto"
    """`auto`: WADO-RS where there is DICOMweb, else C-GET where the PACS accepts it, else C-MOVE."""
    pacs_associations: int = 4
    """Associations (or HTTP connections) that the agent opens to the PACS at most, for everything together."""
    pacs_timeout_seconds: float = 20.0
    """How long the PACS may stay silent within one operation."""
    pacs_sweep_seconds: float = 60.0
    """A whole sweep begins so long after the last one ended."""
    pacs_find_limit: int = 200
    """Matches that one query may give before it is cut into smaller ones."""
    pacs_withdraw_sweeps: int = 3
    """Successful sweeps without a study after which it counts as withdrawn."""
    pacs_backfill_window: str = "00:00-24:00"
    """Local time in which history is announced, `HH:MM-HH:MM`; studies of the last days are announced at any time."""
    pacs_backfill_per_minute: float = 60.0
    """Studies of the history that are announced per minute."""
    pacs_recent_days: int = 7
    """What was studied within these days is not history."""
    pacs_header_instances_per_minute: float = 120.0
    """A PACS without WADO-RS: instances per minute that are read for their headers although nobody looks (0: never).
    History is read in `pacs_backfill_window` only."""
    move_ae_title: str = ""
    """The AE title that a C-MOVE sends to; empty: `ae_title` with `_MV` behind it. The PACS must know it."""
    move_port: int = 0
    """The port that belongs to it; 0: C-MOVE is not used."""
    retrieve_bytes_per_second: int = 0
    """Limit on what leaves the hospital for retrievals; 0: none."""
    retrieve_folder_bytes: int = 4 << 30
    """Bytes of retrieved instances on their way through the agent."""
    services_port: int = 0
    """The port of everything but C-STORE: Query/Retrieve for workstations, worklist, storage commitment, instance
    availability notices; 0: off."""
    gateway_url: str = ""
    """The gateway that workstations' questions go to."""
    workstations: str = ""
    """Workstations that may be sent to (C-MOVE), comma-separated `AE@host:port`."""
    region_name: str = "IMAGING_REGION"
    """Issuer of the patient ids that are made for other hospitals' patients."""
    find_limit: int = 2000
    """Matches that one C-FIND of a workstation may give."""
    workstation_wait_seconds: float = 300.0
    """How long a workstation's retrieval waits for the next byte while the region fetches from a holder."""
    commitment_peers: str = ""
    """Where storage commitment reports can be brought besides `workstations`, comma-separated `AE@host:port`."""
    commitment_wait_seconds: float = 3600.0
    """How long a storage commitment waits for the archive's receipts before it reports a failure."""
    commitment_attempts: int = 20
    """Reports of one storage commitment that may fail before it is given up."""
    mllp_port: int = 0
    """The port for HL7 v2 over MLLP (ORU^R01, ORM^O01); 0: off."""
    mllp_host: str = "127.0.0.1"
    mllp_callers: str = ""
    """Comma-separated addresses that may send HL7 messages; empty: those of `allowed_callers`."""
    mllp_connections: int = 32
    mllp_message_bytes: int = 16 << 20
    """Bytes of one message; a longer one ends its connection."""
    mllp_idle_seconds: float = 600.0
    """A connection ends after so long without a whole message."""
    reports_limit_bytes: int = 2 << 30
    """Bytes of reports that the centre has not taken, or refused; beyond it messages get AE."""

    @property
    def write_back_target(self) -> tuple[str, str, int]:
        """AE title, host and port of what takes reports; without a title nothing does."""
        if self.write_back_ae_title:
            return self.write_back_ae_title, self.write_back_host, self.write_back_port
        return self.pacs_ae_title, self.pacs_host, self.pacs_port

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for a receiving process (secrets it does not need left out)."""
        unneeded = {"oidc_client_secret", "kafka_password", "minio_secret_key", "status_networks"}
        values = self.model_dump(exclude=unneeded)
        return {f"EDGE_AGENT_{name.upper()}": str(value) for name, value in values.items()}
