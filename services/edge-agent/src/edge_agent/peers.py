"""DIMSE over TLS (PS3.15 B.12): a caller's certificate names this hospital and the AE title that it calls itself."""

from typing import Any

from edge_agent.settings import Settings
from imaging_common.tls import BadTls, PeerNames, TlsFiles, server_context


def tls_options(settings: Settings) -> dict[str, Any]:
    """What a `HardenedServer` needs to speak TLS and nothing else.

    Raises
    ------
    BadTls
        The certificate, its key or the CA is missing.
    """
    files = TlsFiles.of(settings.tls_cert, settings.tls_key, settings.tls_ca)
    if files is None:
        raise BadTls("DIMSE over TLS needs tls_cert, tls_key and tls_ca")

    def allow_peer(names: PeerNames, ae_title: str) -> bool:
        return names.hospital == settings.hospital and ae_title in names.ae_titles

    return {"ssl_context": server_context(files), "allow_peer": allow_peer}
