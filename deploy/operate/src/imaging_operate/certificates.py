"""The region's certificate authority in a folder: servers of the centre, edge agents, modalities; keys of mode 0600.

It signs what a region needs to begin. A hospital that comes later gets its certificate by the portal's onboarding.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from imaging_common.pki import Authority, certificate_pem, key_pem, load_authority, new_authority, new_key
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
    """Issues into a folder; issuing again under the same name replaces the files: key first, then certificate.

    Parameters
    ----------
    authority
        None: a new one, whose files replace those of the folder.
    """

    def __init__(self, folder: Path, name: str = "Imaging region CA", authority: Authority | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self.path, self.key_path = folder / "ca.pem", folder / "ca.key"
        self.authority = authority or new_authority(name)
        if authority is None:
            replace_file(self.key_path, key_pem(self.authority.key))
            replace_file(self.path, self.authority.pem)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """The authority that the folder has, or a new one.

        Raises
        ------
        imaging_common.pki.BadRequest
            The folder's authority cannot be read.
        """
        path = folder / "ca.pem"
        return cls(folder, authority=load_authority(path, folder / "ca.key") if path.exists() else None)

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
        replace_file(files.key, key)
        replace_file(files.cert, certificate)
        return files


def replace_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Never half a file, and never readable by others than `mode` says."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_bytes(data)
    new.chmod(mode)
    new.replace(path)
