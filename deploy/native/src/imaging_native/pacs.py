"""A hospital's PACS that nobody here wrote, as a local process: Orthanc with DICOMweb, DCMTK's `dcmqrscp` without."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from imaging_native.ports import free_port
from imaging_native.process import LocalProcess, http_ready, port_ready

DICOMWEB_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
Peers = Mapping[str, int]
"""AE title → port on this machine: where the PACS may send by C-MOVE."""


class OrthancPacs:
    """Orthanc: C-STORE, C-FIND, C-MOVE, C-GET, QIDO-RS and WADO-RS.

    Parameters
    ----------
    overrides
        Entries of Orthanc's configuration that replace the ones here.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        peers: Peers,
        *,
        dicomweb: bool = True,
        overrides: Mapping[str, object] | None = None,
    ) -> None:
        self.ae_title = f"{name.upper()}_PACS"
        self.port, self.http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.dicomweb_url = f"{self.url}/dicom-web" if dicomweb else ""
        self._storage = folder / f"pacs-{name}"
        self._configuration = folder / f"pacs-{name}.json"
        self._settings: dict[str, object] = {
            "Name": self.ae_title,
            "StorageDirectory": str(self._storage),
            "IndexDirectory": str(self._storage),
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowEcho": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomAlwaysAllowStore": True,
            "OverwriteInstances": True,
            "UnknownSopClassAccepted": True,
            "DicomModalities": {ae: [ae, "127.0.0.1", port] for ae, port in peers.items()},
            "Plugins": [DICOMWEB_PLUGIN] if dicomweb else [],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
            **(overrides or {}),
        }
        self.process = LocalProcess(
            f"pacs-{name}",
            [shutil.which("Orthanc") or "/usr/sbin/Orthanc", str(self._configuration)],
            {},
            folder,
            http_ready(f"{self.url}/system"),
        )

    def prepare(self) -> None:
        """Write the configuration; to be called before the process starts."""
        self._storage.mkdir(exist_ok=True)
        self._configuration.write_text(json.dumps(self._settings))


class DcmqrscpPacs:
    """DCMTK's `dcmqrscp`: C-STORE, C-FIND, C-MOVE, C-GET; no DICOMweb."""

    dicomweb_url = ""

    def __init__(self, name: str, folder: Path, peers: Peers, *, options: tuple[str, ...] = ()) -> None:
        self.ae_title = f"{name.upper()}_PACS"
        self.port = free_port()
        self._storage = folder / f"pacs-{name}"
        self._configuration = folder / f"pacs-{name}.cfg"
        self._peers = dict(peers)
        self.process = LocalProcess(
            f"pacs-{name}",
            [shutil.which("dcmqrscp") or "/usr/bin/dcmqrscp", "-c", str(self._configuration), *options],
            {"LC_ALL": "C"},
            folder,
            port_ready(self.port),
        )

    def prepare(self) -> None:
        """Write the configuration; to be called before the process starts."""
        self._storage.mkdir(exist_ok=True)
        hosts = "\n".join(f"peer{n} = ({ae}, 127.0.0.1, {p})" for n, (ae, p) in enumerate(self._peers.items()))
        self._configuration.write_text(
            f"NetworkTCPPort = {self.port}\nMaxPDUSize = 65536\nMaxAssociations = 16\n"
            f"HostTable BEGIN\n{hosts}\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\n{self.ae_title} {self._storage} RW (10000, 4gb) ANY\nAETable END\n"
        )
