"""The region's certificate authority in a folder: servers of the centre, edge agents, modalities; keys of mode 0600."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from imaging_common.pki import certificate_pem, key_pem, new_authority, new_key
from imaging_common.tls import TlsFiles

HOSTS = ("127.0.0.1", "localhost")
LIFETIME = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where a certificate and its key lie."""

    cert: Path
    key: Path
    ca: Path

    @property
    def files(self) -> TlsFiles:
        """For `imaging_common.tls`."""
        return TlsFiles(str(self.cert), str(self.key), str(self.ca))

    def settings(self) -> dict[str, str]:
        """The settings of a service that uses it."""
        return {"tls_cert": str(self.cert), "tls_key": str(self.key), "tls_ca": str(self.ca)}


class RegionCa:
    """Issues into a folder; issuing again under the same name replaces the files: key first, then certificate."""

    def __init__(self, folder: Path, name: str = "Imaging region CA") -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self.authority = new_authority(name)
        self.path, self.key_path = folder / "ca.pem", folder / "ca.key"
        _replace(self.key_path, key_pem(self.authority.key))
        _replace(self.path, self.authority.pem)

    def server(self, name: str, hosts: Sequence[str] = HOSTS) -> Certificate:
        """A service of the centre, at these addresses."""
        key = new_key()
        certificate = self.authority.issue(
            key.public_key(), common_name=name, hosts=hosts, lifetime=LIFETIME, client=False, server=True
        )
        return self._keep(name, key_pem(key), certificate_pem(certificate))

    def edge(
        self,
        hospital: str,
        ae_titles: Iterable[str],
        *,
        name: str = "",
        hosts: Sequence[str] = HOSTS,
        until: datetime | None = None,
    ) -> Certificate:
        """A hospital's edge agent or modality and what it may call itself; at `hosts` it can be a DIMSE server, too.

        Parameters
        ----------
        until
            Some moment of the last five minutes: it has expired (tests).
        """
        key = new_key()
        certificate = self.authority.issue(
            key.public_key(),
            common_name=name or f"edge-{hospital}",
            hospital=hospital,
            ae_titles=ae_titles,
            hosts=hosts,
            lifetime=until - datetime.now(UTC) if until else LIFETIME,
            server=bool(hosts),
        )
        return self._keep(name or f"edge-{hospital}", key_pem(key), certificate_pem(certificate))

    def _keep(self, name: str, key: bytes, certificate: bytes) -> Certificate:
        files = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key", self.path)
        _replace(files.key, key)
        _replace(files.cert, certificate)
        return files


def _replace(path: Path, data: bytes) -> None:
    """Never half a file, and never readable by others."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_bytes(data)
    new.replace(path)
